"""Runs one test module. usage: run_module.py MODULE RESULT.json [PART OF A TEST'S NAME]"""
import json
import pathlib
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))


def chosen(suite, part):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from chosen(item, part)
        elif part in item.id():
            yield item


def main():
    module, result_path = sys.argv[1:3]
    part = sys.argv[3] if len(sys.argv) > 3 else ""
    # As an exception, so that the servers of the running test are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    suite = unittest.TestSuite(chosen(unittest.defaultTestLoader.loadTestsFromName(module), part))
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    skipped = len(result.skipped)
    for test, reason in result.skipped:
        print(f"skipped: {test.id()}: {reason}")
    counts = {"passed": max(0, result.testsRun - failed - skipped), "failed": failed, "skipped": skipped}
    pathlib.Path(result_path).write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
