"""docs/scenarios.md and docs/guarantees.md name tests: each of them exists, and each scenario has its line."""
import re
import sys
import unittest

from places import TOP

SCENARIOS = [f"T{n:02}" for n in range(1, 61)] + [f"{kind}{n}" for kind, last in (("H", 23), ("C", 37), ("L", 18), ("M", 25)) for n in range(1, last + 1)]
NAME = re.compile(r"`(test_\w+|[A-Z]\w+\.[A-Z]\w+|\d\d_\w+|[a-z]+(?:_[a-z]+)+)`")


def existing():
    names = {path.stem for folder in ("sql", "specs") for path in (TOP / "regress" / folder).iterdir()}
    for folder in ("cluster", "sqlite"):
        for path in (TOP / "regress" / folder).glob("*.py"):
            names |= set(re.findall(r"def (test_\w+)", path.read_text())) | {path.stem}
    import test_topologies
    names |= {name for name in dir(test_topologies.Topologies) if name.startswith("test_")}
    for folder in ("shared", "sqlite_ext", "pg_ext"):
        for path in (TOP / folder).rglob("*_test.cpp"):
            names |= {f"{suite}.{name}" for suite, name in re.findall(r"^TEST(?:_F|_P)?\((\w+), (\w+)\)", path.read_text(), re.M)}
    return names


class Documents(unittest.TestCase):
    def test_every_scenario_has_a_line(self):
        lines = re.findall(r"^\| ([A-Z]\d+) \| [^|]+ \| ([^|]+) \|$", (TOP / "docs" / "scenarios.md").read_text(), re.M)
        self.assertEqual(SCENARIOS, [name for name, _ in lines])
        self.assertEqual([], [name for name, text in lines if len(text.strip()) < 5])

    def test_every_guarantee_names_its_proof(self):
        for heading in ("What proves it", "Taken out, it shows"):
            section = (TOP / "docs" / "guarantees.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
            lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
            self.assertGreater(len(lines), 4, heading)
            self.assertEqual([], [line for line in lines if not NAME.search(line.rsplit("|", 2)[1])])

    def test_every_mechanism_that_is_taken_out_is_in_the_documents(self):
        sys.path.insert(0, str(TOP / "scripts"))
        import mutations
        pages = "".join((TOP / page).read_text() for page in ("docs/guarantees.md", "shared/merge/README.md"))
        tests = {one.test.split(":")[-1] for one in mutations.MUTATIONS}
        self.assertEqual(set(), {test for test in tests if f"`{test}`" not in pages})
        self.assertEqual(set(), tests - existing())

    def test_every_test_that_is_named_exists(self):
        names = existing()
        pages = [TOP / "docs" / "scenarios.md", TOP / "docs" / "guarantees.md", TOP / "shared" / "merge" / "README.md"]
        missing = {name for page in pages for name in NAME.findall(page.read_text())
                   if name not in names and (name.startswith("test_") or "." in name or name[0].isdigit())}
        self.assertEqual(set(), missing)


if __name__ == "__main__":
    unittest.main()
