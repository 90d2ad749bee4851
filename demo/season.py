"""The demo's data: a scouting season. Made by rule, so every run has the same rows. No names of real people."""
import datetime
import json
import random

SQLITE_SCHEMA = """
CREATE TABLE team (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT, founded DATE, active BOOLEAN NOT NULL DEFAULT 1, badge BLOB);
CREATE TABLE person (id INTEGER PRIMARY KEY, team_id INTEGER REFERENCES team(id), name TEXT NOT NULL, born DATE,
                     fee DECIMAL(10,2), traits JSON);
CREATE TABLE "match" (id INTEGER PRIMARY KEY, home_id INTEGER NOT NULL REFERENCES team(id), away_id INTEGER NOT NULL REFERENCES team(id),
                      kickoff DATETIME NOT NULL, played BOOLEAN NOT NULL DEFAULT 0, home_goals INTEGER, away_goals INTEGER);
CREATE TABLE entry (id INTEGER PRIMARY KEY, match_id INTEGER NOT NULL REFERENCES "match"(id), person_id INTEGER NOT NULL REFERENCES person(id),
                    scout TEXT NOT NULL, mark DECIMAL(4,1), remark TEXT, seen_at DATETIME NOT NULL);
"""
POSTGRES_SCHEMA = """
CREATE TABLE team (id serial PRIMARY KEY, name text NOT NULL, city text, founded date, active boolean NOT NULL DEFAULT true, badge bytea);
CREATE TABLE person (id serial PRIMARY KEY, team_id integer REFERENCES team, name text NOT NULL, born date, fee numeric(10,2), traits json);
CREATE TABLE "match" (id serial PRIMARY KEY, home_id integer NOT NULL REFERENCES team, away_id integer NOT NULL REFERENCES team,
                      kickoff timestamp NOT NULL, played boolean NOT NULL DEFAULT false, home_goals integer, away_goals integer);
CREATE TABLE entry (id serial PRIMARY KEY, match_id integer NOT NULL REFERENCES "match", person_id integer NOT NULL REFERENCES person,
                    scout text NOT NULL, mark numeric(4,1), remark text, seen_at timestamp NOT NULL);
"""
TABLES = ["team", "person", "match", "entry"]
CITIES = ["Aarhus", "Łódź", "Málaga", "Čakovec", "Tromsø", "Győr", "Évora", "Zürich", "Ñuble", "Þorlákshöfn", "İzmir", "Köln"]
TRAITS = ["left foot", "header", "free kick", "reads the game", "quick", "calm"]
SEASON_START = datetime.datetime(2026, 8, 1, 15, 30)


def rows(seed=2026):
    """-> (table, columns, rows), parents first. Booleans are Python's, so that each driver writes what its engine wants."""
    chance = random.Random(seed)
    teams = [(id, f"{city} {'Rovers' if id % 3 else 'United'}", city, f"{1890 + id * 7}-03-{id:02}", id != 7, chance.randbytes(200 + id))
             for id, city in enumerate(CITIES, 1)]
    people = [(id, id % len(teams) + 1, f"Player “{id}” O'Part", f"{1990 + id % 17}-{id % 12 + 1:02}-{id % 28 + 1:02}",
               f"{chance.randrange(0, 90_000_000) / 100:.2f}", json.dumps({"traits": chance.sample(TRAITS, 2), "height": 165 + id % 30}))
              for id in range(1, 241)]
    matches, entries = [], []
    pairs = [(home, away) for home in range(1, len(teams) + 1) for away in range(1, len(teams) + 1) if home != away]
    for id, (home, away) in enumerate(pairs, 1):
        kickoff = SEASON_START + datetime.timedelta(days=id * 2)
        played = id < 100
        matches.append((id, home, away, kickoff.strftime("%Y-%m-%d %H:%M:%S.%f"), played, id % 5 if played else None, id % 3 if played else None))
        for number in range(12 if played else 0):
            seen = kickoff + datetime.timedelta(minutes=7 * number, microseconds=chance.randrange(1_000_000))
            entries.append((len(entries) + 1, id, chance.randint(1, 240), f"scout {number % 4 + 1}", f"{chance.randrange(10, 100) / 10:.1f}",
                            chance.choice([None, "", "needs a second look", "naïve défense; 50 % duels"]), seen.strftime("%Y-%m-%d %H:%M:%S.%f")))
    return [("team", "id, name, city, founded, active, badge", teams),
            ("person", "id, team_id, name, born, fee, traits", people),
            ("match", "id, home_id, away_id, kickoff, played, home_goals, away_goals", matches),
            ("entry", "id, match_id, person_id, scout, mark, remark, seen_at", entries)]


def fill(node):
    connection = node.connect(autocommit=False)
    cursor = connection.cursor()
    mark = "%s" if node.engine == "postgresql" else "?"
    for table, columns, values in rows():
        cursor.executemany(f'INSERT INTO "{table}" ({columns}) VALUES ({", ".join([mark] * len(values[0]))})', values)
    if node.engine == "postgresql":
        for table in TABLES:   # as a program would have left them that took its numbers from the sequence
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('\"{table}\"', 'id'), max(id)) FROM \"{table}\"")
    connection.commit()
    connection.close()
    return sum(len(values) for _, _, values in rows())
