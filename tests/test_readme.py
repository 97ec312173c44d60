import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_example_runs(capsys):
    [example] = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    accuracy = float(capsys.readouterr().out)
    promised = float(re.search(r"# about ([\d.]+)", example)[1])
    assert abs(accuracy - promised) < 0.03
