"""Finds types of one name that are linked into one library. The linker keeps one of their two destructors for both, and says nothing:
PostgreSQL's worker died now and then because three headers had a struct Refusal."""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
TYPE = re.compile(r"^(?:struct|class|union) (?:\[\[\w+\]\] )?(\w+(?:::\w+)*)[^;(]*\{")
NAMESPACE = re.compile(r"^namespace ?([\w:]*) ?\{")


def types_of(path):
    """-> (namespace, name) of the types that the whole library sees. Formatted code: what stands at the line's beginning is in a namespace only."""
    spaces = []
    for line in path.read_text().splitlines():
        if match := NAMESPACE.match(line):
            spaces.append(match[1])
        elif line.startswith("}  // namespace") and spaces:
            spaces.pop()
        elif (match := TYPE.match(line)) and "" not in spaces:
            yield "::".join(spaces), match[1]


def main():
    found = False
    for library in ("pg_ext", "sqlite_ext"):
        seen = {}
        for folder in (library, "shared"):
            for path in sorted((TOP / folder).rglob("*.[ch]pp")):
                if "testing" in path.parts or path.stem.endswith("_test"):
                    continue
                for name in types_of(path):
                    seen.setdefault(name, set()).add(path.relative_to(TOP))
        for (space, name), paths in sorted(seen.items()):
            if len(paths) > 1:
                print(f"{library}: {space}::{name} is defined in {', '.join(map(str, sorted(paths)))}")
                found = True
    sys.exit(found)


if __name__ == "__main__":
    main()
