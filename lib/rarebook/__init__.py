"""Sparse inputs, embeddings, rare events and small data, in Theano and in NumPy."""
