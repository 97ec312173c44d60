import io
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from rarebook.metrics import mean_interval
from rarebook.omniglot import (
    area_average,
    by_memory,
    by_nearest,
    draw_episodes,
    few_shot_accuracy,
    load_omniglot,
    rotated,
)


def pixels(images):
    return images.reshape(len(images), -1)


def archive(folder, drawings, part="background"):
    """A small archive in the official layout; drawings: {(alphabet, character, drawer): array}."""
    (folder / "omniglot").mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "omniglot" / f"images_{part}.zip", "w") as file:
        file.writestr(f"images_{part}/", "")
        for (alphabet, character, drawer), ink in drawings.items():
            png = io.BytesIO()
            Image.fromarray(~ink).save(png, "png")
            name = f"images_{part}/{alphabet}/character{character:02}/0007_{drawer:02}.png"
            file.writestr(name, png.getvalue())


@pytest.fixture
def few(tmp_path, monkeypatch, rng):
    """Five drawings in a folder that RAREBOOK_DATA names."""
    monkeypatch.setenv("RAREBOOK_DATA", str(tmp_path))
    places = [
        ("Greek", 2, 1),
        ("Greek", 1, 20),
        ("Greek", 1, 3),
        ("Angelic_2", 1, 1),
        ("Greek", 2, 2),
    ]
    drawings = {place: rng.random((105, 105)) < 0.2 for place in places}
    archive(tmp_path, drawings)
    return drawings


def test_drawings_come_in_the_order_of_their_characters(few):
    data = load_omniglot("background")
    assert data.images.dtype == np.float32 and data.images.shape == (5, 28, 28)
    assert data.images.min() >= 0 and data.images.max() <= 1
    assert data.labels.tolist() == [0, 1, 1, 2, 2] and data.labels.dtype == np.int64
    assert data.drawers.tolist() == [0, 2, 19, 0, 1] and data.drawers.dtype == np.int64
    assert list(data.alphabet_names) == ["Angelic_2", "Greek"]
    assert data.alphabets.tolist() == [0, 1, 1] and data.alphabets.dtype == np.int64
    assert list(data.label_names) == [
        "Angelic_2/character01",
        *(f"Greek/character0{i}" for i in (1, 2)),
    ]
    for image, label, drawer in zip(data.images, data.labels, data.drawers, strict=True):
        alphabet, character = data.label_names[label].split("/")
        ink = few[alphabet, int(character[-2:]), drawer + 1]
        # 28 times each pixel, then the mean of 105×105 blocks: exact, and slow
        fine = ink.repeat(28, axis=0).repeat(28, axis=1)
        blocks = fine.reshape(28, 105, 28, 105).mean(axis=(1, 3))
        np.testing.assert_allclose(image, blocks, atol=1e-6)


def test_a_broken_or_missing_archive_is_an_os_error(tmp_path, monkeypatch, few):
    path = tmp_path / "omniglot" / "images_background.zip"
    content = bytearray(path.read_bytes())
    content[10:400] = bytes(390)
    path.write_bytes(content)
    with pytest.raises(OSError, match="not a sound archive"):
        load_omniglot("background")
    path.write_bytes(b"")
    with pytest.raises(OSError, match="not a sound archive"):
        load_omniglot("background")
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        raise OSError("no network")

    monkeypatch.setattr("pooch.retrieve", retrieve)
    with pytest.raises(OSError, match="no network"):
        load_omniglot("evaluation")
    url = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
    assert asked == [
        (url + "images_evaluation.zip", "md5:6b91aef0f799c5bb55b94e3f2daec811"),
    ]


@pytest.mark.parametrize("part", ["images_background", "test", None, 0])
def test_other_parts_are_refused(part):
    with pytest.raises(ValueError, match=r"^part: received .*'background' or 'evaluation'"):
        load_omniglot(part)


@pytest.mark.parametrize("shape, size", [((4, 4), 2), ((5, 5), 3), ((7, 5), 4), ((105, 105), 28)])
def test_area_average_is_exact(rng, shape, size):
    images = rng.random((2, *shape))
    fine = images.repeat(size, axis=1).repeat(size, axis=2)
    blocks = fine.reshape(2, size, shape[0], size, shape[1]).mean(axis=(2, 4))
    np.testing.assert_allclose(area_average(images, size), blocks, atol=1e-6)


def test_rotated_keeps_turns_apart(rng):
    images, labels = rng.random((6, 5, 5)), np.array([0, 2, 1, 2, 0, 1])
    turned, of_turned = rotated(images, labels)
    assert turned.shape == (24, 5, 5) and of_turned.dtype == np.int64
    for t in range(4):
        part = slice(6 * t, 6 * t + 6)
        np.testing.assert_array_equal(of_turned[part], labels + 3 * t)
        for image, before in zip(turned[part], images, strict=True):
            np.testing.assert_array_equal(image, np.rot90(before, t))


def test_an_episode_has_every_drawing_once_and_its_classes_in_columns(rng):
    labels = rng.permutation(np.repeat([3, 5, 8, 9], [4, 6, 5, 3]))
    shots, queries = draw_episodes(labels, 3, 2, 200, rng, n_queries=2)
    assert shots.shape == queries.shape == (200, 2, 3) and shots.dtype == np.int64
    seen = set()
    for episode in np.concatenate([shots, queries], axis=1):
        assert len(np.unique(episode)) == 12
        classes = labels[episode]
        assert (classes == classes[0]).all() and len(set(classes[0].tolist())) == 3
        seen |= {tuple(classes[0].tolist())}
    assert {c for classes in seen for c in classes} == {3, 5, 8}  # 9 has too few
    assert len(seen) == 6  # every order


def test_episodes_depend_on_the_seed_alone(rng):
    images, labels = rng.random((60, 4, 4)), np.repeat(np.arange(12), 5)

    def accuracies(embed, classify):
        return few_shot_accuracy(
            embed, images, labels, 5, 1, 50, np.random.default_rng(3), classify=classify
        )

    first = accuracies(pixels, by_memory)
    np.testing.assert_array_equal(first, accuracies(pixels, by_memory))
    # With one shot a memory is a nearest neighbour.
    np.testing.assert_array_equal(first, accuracies(pixels, by_nearest))
    assert first.shape == (50,) and 0 < first.mean() < 1


def test_accuracy_of_what_is_known(rng):
    labels = np.repeat(np.arange(10), 6)
    images = np.zeros((60, 4, 4))
    images[np.arange(60), labels // 4, labels % 4] = 1
    for classify in (by_memory, by_nearest):
        right = few_shot_accuracy(pixels, images, labels, 10, 5, 20, rng, classify=classify)
        assert (right == 1).all()
        blind = few_shot_accuracy(
            lambda images: np.ones((len(images), 3)), images, labels, 10, 1, 20, rng, n_queries=5
        )
        np.testing.assert_allclose(blind, 0.1)  # the lowest slot wins every tie


def test_a_memory_averages_and_a_nearest_neighbour_keeps():
    keys = np.array([[1.0, 0], [0, 1], [1, 1e-3], [3, 4]], np.float32)
    y, queries = np.array([0, 1, 0, 1]), np.array([[1, 0.9], [9, 1]], np.float32)
    assert by_memory(keys, y, queries).tolist() == by_nearest(keys, y, queries).tolist() == [1, 0]


@pytest.mark.parametrize(
    "argument, change",
    [
        ("embed", {"embed": None}),
        ("embed", {"embed": lambda images: images}),
        ("embed", {"embed": lambda images: np.full((len(images), 2), np.nan)}),
        ("classify", {"classify": "nearest"}),
        ("images", {"images": np.zeros((3, 2, 2))}),
        ("images", {"images": np.full((8, 2, 2), np.inf)}),
        ("labels", {"labels": np.arange(8.0)}),
        ("labels", {"labels": np.repeat([-1, 0], 4)}),
        ("labels", {"n_ways": 3}),
        ("labels", {"n_shots": 4}),
        ("n_ways", {"n_ways": 1}),
        ("n_shots", {"n_shots": 0}),
        ("n_episodes", {"n_episodes": 0}),
        ("n_queries", {"n_queries": 0}),
        ("rng", {"rng": 0}),
    ],
)
def test_accuracy_refuses(rng, argument, change):
    arguments = dict(
        embed=pixels,
        images=rng.random((8, 2, 2)),
        labels=np.repeat([0, 1], 4),
        n_ways=2,
        n_shots=1,
        n_episodes=1,
        rng=rng,
    )
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        few_shot_accuracy(**arguments | change)


@pytest.mark.parametrize(
    "argument, images, labels",
    [
        ("images", np.zeros((2, 3, 4)), [0, 1]),
        ("images", np.zeros((2, 3)), [0, 1]),
        ("labels", np.zeros((2, 3, 3)), [0]),
        ("labels", np.zeros((2, 3, 3)), [0, -1]),
        ("labels", np.zeros((2, 3, 3)), [0.0, 1.0]),
    ],
)
def test_rotated_refuses(argument, images, labels):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        rotated(images, labels)


@pytest.mark.parametrize(
    "argument, images, size",
    [
        ("size", np.zeros((1, 3, 4)), 4),
        ("size", np.zeros((1, 3, 4)), 0),
        ("images", np.zeros((3, 4)), 2),
        ("images", np.full((1, 3, 3), np.nan), 2),
    ],
)
def test_area_average_refuses(argument, images, size):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        area_average(images, size)


def loaded(part):
    """The data, or the test is skipped with the reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on each try to download
        try:
            return load_omniglot(part)
        except OSError as error:
            pytest.skip(f"Omniglot is neither here nor to be fetched: {error}")


@pytest.mark.parametrize(
    "part, n_characters, n_alphabets", [("background", 964, 30), ("evaluation", 659, 20)]
)
def test_the_public_data_is_what_the_docstring_says(part, n_characters, n_alphabets):
    data = loaded(part)
    assert data.images.shape == (20 * n_characters, 28, 28)
    assert data.images.min() == 0 and data.images.max() <= 1 and 0.02 < data.images.mean() < 0.12
    np.testing.assert_array_equal(data.labels, np.repeat(np.arange(n_characters), 20))
    np.testing.assert_array_equal(data.drawers, np.tile(np.arange(20), n_characters))
    assert len(data.alphabet_names) == n_alphabets
    assert data.alphabets.shape == (n_characters,)


@pytest.mark.parametrize(
    "n_ways, n_shots, published", [(5, 1, 48.1), (5, 5, 69.8), (20, 1, 28.3), (20, 5, 52.1)]
)
def test_pixels_reach_what_is_published(n_ways, n_shots, published):
    data = loaded("evaluation")
    accuracies = few_shot_accuracy(
        pixels,
        data.images,
        data.labels,
        n_ways,
        n_shots,
        1000,
        np.random.default_rng(0),
        n_queries=5,
        classify=by_nearest,
    )
    mean, half = mean_interval(100 * accuracies)
    assert abs(mean - published) < half + 0.3  # the published figures have an interval, too
