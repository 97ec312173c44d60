"""A Network to Remember: sparse inputs, embeddings, rare events and small data, in Theano and in NumPy."""
