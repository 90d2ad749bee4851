"""A server that is down, slow, hangs or answers rubbish delays nobody else, and catches up by itself when it is well again."""
from fault_proxy import FaultProxy
from harness import ClusterTest
from nodes import SECRET, link, server_state, wait_streaming

SCHEMA = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"


class FaultyPeers(ClusterTest):
    def meet(self, engine, mode):
        """`hub` has a healthy server and one behind a proxy that misbehaves."""
        hub, healthy, sick = (self.node(engine, "hub", SCHEMA), self.node("sqlite", "healthy", SCHEMA), self.node("sqlite", "sick", SCHEMA))
        proxy = FaultProxy(sick.url)
        self.addCleanup(proxy.close)
        for node in (hub, healthy, sick):
            node.call("add_table", "*")
        link(hub, healthy)
        hub.call("add_server", "sick", proxy.url, SECRET)
        sick.call("add_server", "hub", hub.url, SECRET)
        wait_streaming(hub, healthy, sick)
        hub.run("INSERT INTO person VALUES (1, 'before')")
        self.wait_equal([hub, healthy, sick])

        proxy.set(mode)
        for id in range(2, 40):
            hub.run(f"INSERT INTO person VALUES ({id}, 'during {mode}')")
        self.wait_equal([hub, healthy], timeout_s=5)
        healthy.run("INSERT INTO person VALUES (100, 'from the healthy one')")
        self.wait_equal([hub, healthy], timeout_s=5)
        if mode != "slow":
            state = self.wait_for(lambda: server_state(hub, "sick"), lambda row: row["last_error"], "the hub names the error", 40)
            self.assertGreater(state["queued"], 0)
            self.assertNotIn(SECRET, str(state))
        # An answer that hangs keeps nobody from asking how things are.
        wait_streaming(hub, healthy, timeout_s=5)

        proxy.set("pass")
        self.wait_equal([hub, healthy, sick], timeout_s=60)
        self.wait_for(lambda: server_state(hub, "sick"), lambda row: row["state"] == "streaming" and not row["last_error"],
                      "the hub streams to it again", 40)

    def test_a_server_that_refuses_connections(self):
        self.meet("postgresql", "refuse")

    def test_a_server_that_hangs(self):
        self.meet("postgresql", "hang")

    def test_a_server_that_answers_rubbish(self):
        self.meet("postgresql", "rubbish")

    def test_a_proxy_that_answers_200_with_a_login_page(self):
        self.meet("sqlite", "error page")

    def test_a_line_that_breaks_in_the_middle_of_every_answer(self):
        self.meet("sqlite", "cut")

    def test_a_very_slow_line(self):
        self.meet("sqlite", "slow")

    def test_a_frozen_server_process(self):
        hub, healthy, frozen = (self.sqlite("hub", SCHEMA), self.postgres("healthy", SCHEMA), self.postgres("frozen", SCHEMA))
        self.join([hub, healthy, frozen], [(hub, healthy), (hub, frozen)])
        frozen.freeze()
        for id in range(1, 40):
            hub.run(f"INSERT INTO person VALUES ({id}, 'meanwhile')")
        self.wait_equal([hub, healthy], timeout_s=5)
        frozen.thaw()
        self.wait_equal([hub, healthy, frozen], timeout_s=60)

    def test_a_server_that_was_away_gets_everything_when_it_is_back(self):
        hub, away = self.postgres("hub", SCHEMA), self.postgres("away", SCHEMA)
        self.join([hub, away], [(hub, away)])
        away.stop()
        hub.run("INSERT INTO person SELECT i, 'while away' FROM generate_series(1, 5000) i")
        hub.run("UPDATE person SET name = 'changed' WHERE id <= 100")
        hub.run("DELETE FROM person WHERE id > 4990")
        self.wait_for(lambda: server_state(hub, "away"), lambda row: row["state"] == "backing off", "the hub says that it tries again")
        away.start()
        self.wait_equal([hub, away])
