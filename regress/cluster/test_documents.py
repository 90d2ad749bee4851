"""docs/scenarios.md and docs/guarantees.md name tests: each of them exists, and each scenario has its line."""
import re
import sys
import unittest

from places import TOP

SCENARIOS = [f"T{n:02}" for n in range(1, 61)] + [f"{kind}{n}" for kind, last in (("H", 23), ("C", 37), ("L", 18), ("M", 25)) for n in range(1, last + 1)]
NAME = re.compile(r"`(test_\w+|[A-Z]\w+\.[A-Z]\w+|\d\d_\w+|[a-z]+(?:_[a-z]+)+)`")


def existing():
    names = {path.stem for folder in ("sql", "specs") for path in (TOP / "regress" / folder).iterdir()}
    for folder in ("cluster", "sqlite", "dashboard"):
        for path in (TOP / "regress" / folder).glob("*.py"):
            names |= set(re.findall(r"def (test_\w+)", path.read_text())) | {path.stem}
    import test_topologies
    names |= {name for name in dir(test_topologies.Topologies) if name.startswith("test_")}
    for folder in ("shared", "sqlite_ext", "pg_ext"):
        for path in (TOP / folder).rglob("*_test.cpp"):
            names |= {f"{suite}.{name}" for suite, name in re.findall(r"^TEST(?:_F|_P)?\((\w+), (\w+)\)", path.read_text(), re.M)}
    # What is known to fail is left out and proves nothing. (A name that begins with DISABLED_ is not one that a page would name.)
    known = (TOP / "regress" / "cluster" / "known_failures.txt").read_text().splitlines()
    return names - {line.split()[0].rsplit(".", 1)[1] for line in known if line and not line.startswith("#")}


def proofs(page):
    """What the last columns of a page's tables name, where those columns are for tests."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return {name for line in lines for name in NAME.findall(line.rsplit("|", 2)[1])}


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

    def test_what_a_table_names_as_proof_exists(self):
        """Scripts in regress/sql and regress/specs have names like any word, so only the columns of tests are looked at."""
        words = {"history_two_cuts"}  # a check of the store's contract, named beside the test that runs it
        pages = [TOP / "docs" / "scenarios.md", TOP / "docs" / "guarantees.md", TOP / "shared" / "merge" / "README.md"]
        self.assertEqual(set(), {name for page in pages for name in proofs(page)} - existing() - words)


if __name__ == "__main__":
    unittest.main()
