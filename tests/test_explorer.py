"""The page of things to play with: its recordings are what the library does now.

That the page plays them, in a browser, is tested in tests/browser.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import record_explorer as recorder

PAGE = Path(__file__).parents[1] / "book" / "explorer.md"


@pytest.fixture(scope="module")
def committed():
    return recorder.read()


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text("utf-8")


def test_the_memories_do_what_is_recorded(committed):
    assert json.loads(json.dumps(recorder.memory_record())) == committed["memory"]


def test_the_picture_shows_the_record(committed):
    svg = (recorder.FOLDER / "memory.svg").read_text("utf-8")
    assert svg == recorder.picture(committed["memory"])


def test_the_network_believes_what_is_recorded(committed):
    now = recorder.beliefs_record()
    assert [film["film"] for film in now] == list(recorder.FILMS)
    for new, old in zip(now, committed["beliefs"], strict=True):
        assert new["keywords"] == old["keywords"]
        for one, other in zip(new["levels"], old["levels"], strict=True):
            assert one["labels"][one["right"]] == other["labels"][other["right"]]
            beliefs = dict(zip(one["labels"], np.transpose(one["steps"]), strict=True))
            for label, steps in zip(other["labels"], np.transpose(other["steps"]), strict=True):
                if label in beliefs:  # the last of four may be another on another machine
                    np.testing.assert_allclose(beliefs[label], steps, atol=0.02)


def test_the_record_is_small():
    assert (recorder.FOLDER / "records.js").stat().st_size < 150_000


def test_the_page_says_what_is_recorded(committed, text):
    memory = committed["memory"]
    oldest, aware = (memory["rules"][rule]["over_seeds"] for rule in ("oldest", "aware"))
    n = memory["n_seeds"]
    said = [
        f"A memory of {memory['n_slots']} slots sees {len(memory['y'])} events",
        f"the stream of seed {memory['seed']},",
        f"Of {n} streams, the oldest rule had lost every slot of Christmas by its second visit "
        f"in {oldest['lost'][0]}, and the label-aware rule in {aware['lost'][0]}.",
        f"found Christmas on its second visit in {aware['found'][0]} of the streams, "
        f"and on its third in {aware['found'][1]}.",
        f"finds the label in {aware['hits']:.1%}, the oldest rule in {oldest['hits']:.1%}.",
    ]
    for sentence in said:
        assert sentence in text


def test_the_events_that_the_page_points_at(committed):
    memory = committed["memory"]
    first, second, third = (year * recorder.YEAR + recorder.EVENINGS[0] for year in range(3))
    held = {rule: recorder.held(memory, rule) for rule in memory["rules"]}
    hits = {rule: run["hits"] for rule, run in memory["rules"].items()}
    assert second + 1 == 125 and held["oldest"][second - 1] == 0
    assert held["aware"][second - 1] == 2 and not hits["aware"][second]
    assert held["aware"][125] == 3 and held["aware"][126] == 2
    assert hits["aware"][third] and not hits["oldest"][third]
    assert min(held["aware"][first:]) > 0


def test_hits_leave_frequent_labels_fewer_slots_than_the_law(committed):
    memory = committed["memory"]
    for rule, power in (("oldest", 1), ("aware", 1 / 2)):
        law = np.array(memory["p"]) ** power
        law *= memory["n_slots"] / law.sum()
        run = memory["rules"][rule]
        slots = np.array(run["over_seeds"]["slots"])
        found = np.bincount(memory["y"], run["hits"]) / np.bincount(memory["y"])
        assert found.argmax() == 0 and found[:3].min() > found[6:11].max()
        assert slots[0] < law[0] - 0.4 and slots.sum() == pytest.approx(48, abs=0.3)


def test_a_network_can_become_surer_of_what_is_wrong(committed):
    film = next(f for f in committed["beliefs"] if f["film"].startswith("Train to Busan"))
    theme = film["levels"][2]
    assert theme["labels"][theme["right"]] == "zombies" and theme["right"] != 0
    steps = np.array(theme["steps"])[:, 0]
    assert (np.diff(steps) > 0.05).all()
