import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_example_runs(capsys):
    [example] = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    labels = re.fullmatch(r"\[([\d ]+)\]\n", capsys.readouterr().out).group(1).split()
    assert len(labels) == 3 and all(0 <= int(label) < 20 for label in labels)
