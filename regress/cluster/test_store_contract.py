"""The checks that every store keeps (shared/testing/store_contract.hpp), on PostgreSQL: inside of a server, in a worker of their own."""
import shutil

from harness import ClusterTest
from places import BUILD, new_folder


class StoreContract(ClusterTest):
    def test_postgresql_keeps_it(self):
        # Copied to where the server's user may read, wherever this was built.
        library = shutil.copy(BUILD / "pg_ext" / "rowmesh_contract.so", new_folder("library"))
        node = self.postgres("contract")
        node.run("CREATE TABLE public.contract_result (name text, ok boolean, message text)")
        node.run(f"CREATE FUNCTION run_contract(text) RETURNS void LANGUAGE c AS '{library}', 'rowmesh_run_contract'")
        node.run("SELECT run_contract(?)", str(library))
        results = node.run("SELECT name, ok, message FROM public.contract_result ORDER BY name")
        self.assertEqual([], [(name, message) for name, ok, message in results if not ok])
        self.assertGreater(len(results), 30, node.log_text()[-2000:])
