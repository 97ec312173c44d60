"""The page of things to play with, in a browser: it plays, it can be read, it counts right."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import record_explorer as recorder

from rarebook.numeric.losses import SoftmaxLoss, entropy

NAME = "book/explorer.html"
STATUS = "#ex-memory [role=status]"


@pytest.fixture(scope="module")
def record():
    return recorder.read()["memory"]


def event(page):
    return int(page.locator("#ex-event").input_value())


# The whole page; whether anything is wrong with it, test_pages.py tests as for all pages


def test_without_javascript_a_picture_and_a_text_remain(visit):
    page = visit(NAME, java_script_enabled=False).page
    picture = page.locator("#ex-memory img")
    assert picture.is_visible() and "Two lanes" in picture.get_attribute("alt")
    assert page.get_by_text("With JavaScript, two sliders stand here.").is_visible()
    assert page.get_by_role("button", name="Play").count() == 0


# The memory


def test_the_memories_are_the_librarys(visit, record):
    """After every event: labels, ages, and for a write the slot that the page expected."""
    played = visit(NAME).page.evaluate(
        """() => Object.fromEntries(Object.keys(RECORDS.memory.rules).map((rule) => [
            rule, RECORDS.memory.y.map((_, i) => {
                const m = explorer.memory.memoryAt(RECORDS.memory, rule, i);
                const { labels, ages } = explorer.memory.memoryAt(RECORDS.memory, rule, i + 1);
                return { labels, ages, next: explorer.memory.next(RECORDS.memory, rule, m) };
            })]))"""
    )
    X, y = recorder.stream(recorder.SEED)
    for rule, run in record["rules"].items():
        memory = recorder.new_memory(recorder.SEED, rule)
        for i, shown in enumerate(played[rule]):
            update = memory.update(X[i], int(y[i]))
            assert shown["labels"] == [-1 if v is None else v for v in memory.labels]
            assert shown["ages"] == memory.ages.tolist()
            assert update.hits or shown["next"] == run["slots"][i]


def test_keys_step_and_play(visit):
    page = visit(NAME).page
    assert event(page) == 125
    page.locator("#ex-event").focus()
    for key, expected in [
        ("Home", 0),
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", 300),
        ("ArrowRight", 300),
        ("Home", 0),
        ("ArrowLeft", 0),
    ]:
        page.keyboard.press(key)
        assert event(page) == expected
    page.get_by_label("Speed").select_option("fast")
    page.locator("#ex-event").focus()
    page.keyboard.press("Space")
    page.wait_for_function("document.getElementById('ex-event').value > 3")
    page.keyboard.press("Space")
    stopped = event(page)
    page.wait_for_timeout(300)
    assert event(page) == stopped


def test_buttons_play_to_the_end_and_start_anew(visit):
    page = visit(NAME).page
    page.locator("#ex-event").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("document.querySelector('.ex-play').textContent === 'Play'")
    assert event(page) == 300
    page.get_by_role("button", name="Play").click()
    assert page.get_by_role("button", name="Pause").is_visible() and event(page) < 5
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="One event on").click()
    page.get_by_role("button", name="One event back").click()
    assert page.get_by_role("button", name="Play").is_visible()


def test_scrubbing_shows_another_moment(visit, record):
    page = visit(NAME).page
    page.locator("#ex-event").fill("150")
    assert "Event 150 of 300" in page.locator(".ex-event").inner_text()
    label = page.locator('.ex-grid[data-rule="aware"]').get_attribute("aria-label")
    counts = dict(re.findall(r"([A-Za-z ]+?) (\d+)[,.]", label.partition("Slots:")[2]))
    assert sum(map(int, counts.values())) == record["n_slots"]
    shown = page.locator(".ex-shares tbody tr").last.locator(".ex-count").all_inner_texts()
    expected = [str(recorder.held(record, rule)[149]) for rule in ("oldest", "aware")]
    assert shown == expected


def test_a_screen_reader_hears_what_happened(visit):
    page = visit(NAME).page
    page.get_by_role("button", name="One event back").click()
    page.get_by_role("button", name="To the next Christmas").click()
    heard = page.locator(STATUS).inner_text()
    assert heard.startswith("Event 125 of 300: Christmas.")
    assert re.search(
        r"Oldest rule: No slot had it; .* Gave up slot \d+ of \w+: the oldest, age", heard
    )
    assert re.search(r"Label-aware rule: It had 2 slots, but .* age × share, \d+ × \d+/48", heard)
    page.locator("#ex-event").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(STATUS).inner_text().startswith("Event 126")


def test_fingers_will_do(visit):
    visited = visit(NAME, "phone", has_touch=True, is_mobile=True)
    page = visited.page
    page.get_by_role("button", name="To the next Christmas").tap()
    assert event(page) == 126
    page.locator('.ex-grid[data-rule="oldest"] .ex-cell').nth(3).tap()
    assert page.locator(".ex-picked").first.inner_text().startswith("Slot 3: ")
    page.get_by_role("button", name="Play").tap()
    page.wait_for_function("document.getElementById('ex-event').value > 126")
    page.get_by_label("Event", exact=True).tap()  # in the middle
    assert abs(event(page) - 150) <= 3 and page.get_by_role("button", name="Play").is_visible()
    for button in page.locator(".ex button").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 40
    assert visited.problems == []


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_rules_are_side_by_side(visit, size):
    page = visit(NAME, size).page
    boxes = [page.locator(f'.ex-grid[data-rule="{rule}"]') for rule in ("oldest", "aware")]
    oldest, aware = (box.bounding_box() for box in boxes)
    assert oldest["y"] == aware["y"] and oldest["height"] == aware["height"]
    assert 0 <= oldest["x"] < oldest["x"] + oldest["width"] < aware["x"]
    assert aware["x"] + aware["width"] <= page.viewport_size["width"]


def test_the_shares_are_set_against_the_law(visit, record):
    page, p = visit(NAME).page, np.array(record["p"])
    heads = page.locator(".ex-shares tbody th").all_inner_texts()
    assert [head.split(maxsplit=1)[1] for head in heads] == record["labels"]
    for column, (rule, power) in enumerate([("oldest", 1), ("aware", 1 / 2)]):
        law = record["n_slots"] * p**power / (p**power).sum()
        mean = record["rules"][rule]["over_seeds"]["slots"]
        said = page.locator(f".ex-shares td:nth-child({column + 3}) .ex-hidden").all_inner_texts()
        found = [re.search(r"law (\d+\.\d), mean (\d+\.\d)", each).groups() for each in said]
        np.testing.assert_allclose(np.array(found, float), np.transpose([law, mean]), atol=0.051)


def test_who_wants_less_motion_gets_the_slow_pace(visit):
    page = visit(NAME, reduced_motion="reduce").page
    assert page.get_by_label("Speed").input_value() == "slow"
    assert visit(NAME).page.get_by_label("Speed").input_value() == "medium"


def test_the_law_is_the_chapters(visit):
    page, p = visit(NAME).page, np.array([0.8, 0.18, 0.02])
    for gamma in (0, 1, 2):
        root = p ** (1 / (1 + gamma))
        found = page.evaluate(f"explorer.memory.law({p.tolist()}, {gamma})")
        np.testing.assert_allclose(found, root / root.sum(), rtol=1e-12)


# Three classes


@pytest.mark.parametrize("epsilon, beta", [(0, 0), (0.3, 0), (0, 0.5), (0.3, 0.5), (0.9, 2)])
def test_the_loss_is_the_librarys(visit, epsilon, beta):
    page = visit(NAME).page
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=20)
    found = page.evaluate(f"{p.tolist()}.map((p) => explorer.simplex.loss(p, {epsilon}, {beta}))")
    loss = SoftmaxLoss(epsilon=epsilon, beta=beta)
    np.testing.assert_allclose(found, [loss(np.log([row]), [0])[0] for row in p], rtol=1e-9)
    doubts = page.evaluate(f"{p.tolist()}.map(explorer.simplex.entropy)")
    np.testing.assert_allclose(doubts, entropy(np.log(p)), rtol=1e-9)
    lowest = page.evaluate(f"explorer.simplex.lowest({epsilon}, {beta})")
    if epsilon or beta:
        others = (1 - lowest) / 2
        gradient = loss(np.log([[lowest, others, others]]), [0])[1]
        np.testing.assert_allclose(gradient, 0, atol=1e-9)
    else:
        assert lowest == 1


def test_sliders_move_the_lowest_point(visit):
    page = visit(NAME).page
    table = page.locator("#ex-simplex tbody tr")
    before = table.last.inner_text()
    page.get_by_label("smoothing ε").fill("0.1")
    page.get_by_label("penalty β").fill("0")
    assert table.last.inner_text() != before
    smoothed = 1 - 0.1 + 0.1 / 3
    assert table.first.locator("td").first.inner_text() == f"{smoothed:.3f}"
    said = page.locator("#ex-simplex [role=status]").inner_text()
    same = float(re.search(r"this ε does is (\d+\.\d+)\.", said)[1])
    assert f"gives A {smoothed:.3f}" in said
    assert same == round(1 / (smoothed * np.log(2 * smoothed / (1 - smoothed))), 2)
    assert page.evaluate("explorer.simplex.lowest(0, 0.2)") > 0.98  # "hardly anything is left"


def test_contours_lie_in_the_triangle(visit):
    """Also at the ends of the sliders, where the lowest point is in the corner or near it."""
    page = visit(NAME).page
    for epsilon, beta in [("0", "0"), ("0.9", "2"), ("0.3", "0.5")]:
        page.get_by_label("smoothing ε").fill(epsilon)
        page.get_by_label("penalty β").fill(beta)
        paths = page.locator(".ex-level").evaluate_all("all => all.map((p) => p.getAttribute('d'))")
        for path in paths:
            points = np.array([pair.split() for pair in path.strip("MZ").split("L")], float)
            assert points.shape == (180, 2)
            assert points.min() > 23 and (points.max(axis=0) < [277, 243]).all()


# Three steps


def test_beliefs_follow_film_and_step(visit):
    page = visit(NAME).page
    text = page.locator("#ex-beliefs .ex-account")
    assert "Night of the Living Dead (1968), step 1" in text.inner_text()
    page.get_by_role("button", name="Step 1").focus()
    page.keyboard.press("End")
    assert re.search(r"step 3: .*theme zombies, 0\.\d\d \(right\)", text.inner_text())
    page.get_by_label("Film").select_option(label="Train to Busan (2016)")
    page.get_by_role("button", name="Step 3").click()
    assert "(in fact zombies)" in text.inner_text()
    assert page.get_by_role("button", name="Step 3").get_attribute("aria-pressed") == "true"
