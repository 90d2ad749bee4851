// Property tests of merging and forgetting (docs/model.md): whatever the order in which documents arrive, however they
// are grouped, and however often each arrives, all nodes end equal; and forgetting changes nothing that anybody sees.
// And no value is lost without a trace (ledger.hpp). The oracle are the same nodes under the same transactions and the
// same documents that never forget.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "shared/model/limits.hpp"
#include "shared/testing/ledger.hpp"
#include "shared/testing/loose_nodes.hpp"

namespace rowmesh::testing {
namespace {

constexpr const char* keys[] = {"ann", "bob", "cid"};
constexpr const char* tags[] = {"red", "blue", "green"};

struct Wanted {
  const char* name;
  bool integer = false;
  KeyCollision policy = KeyCollision::hold;  // 'renumber': any_number_test.cpp
  bool truncates = false;
  std::size_t uniques = 0;
  bool long_values = false;  // left out when they have settled
};

void create(MemoryStore& store, const Wanted& wanted) {
  Table table;
  table.wire_name = "rows";
  table.columns = {{"id", wanted.integer ? ColumnType::integer : ColumnType::text, "", true, false},
                   {"a", ColumnType::text, "text", false, false},
                   {"u", ColumnType::text, "text", false, false},
                   {"w", ColumnType::text, "text", false, false}};
  table.key = {0};
  table.integer_key = wanted.integer;
  table.on_key_collision = wanted.policy;
  if (wanted.uniques > 0) table.uniques.push_back({"rows_u", {2}});
  if (wanted.uniques > 1) table.uniques.push_back({"rows_w", {3}});
  store.create_table(table);
}

// One change of one row, the same on both of a node's databases.
struct Change {
  enum What : std::uint8_t { insert, update, remove, truncate, swap } what = insert;
  Row key, other_key;  // swap: two rows change places in a UNIQUE column
  std::size_t column = 1;
  std::string value, tag, other_tag;
};

class AnyOrder : public ::testing::TestWithParam<Wanted> {
 protected:
  struct Pair {  // a document of those that forget, and its twin
    LooseNodes::Document real, oracle;
  };

  void run(std::uint64_t seed) {
    SeededRandom random(seed);
    std::size_t count = 3 + random.below(3);
    auto make_tables = [](MemoryStore& store) { create(store, GetParam()); };
    LooseNodes real(count, make_tables), oracle(count, make_tables, false);
    for (std::size_t i = 0; i < count; i++) {
      auto skew = static_cast<std::int64_t>(random.below(400)) - 200;
      real.skew(i, skew), oracle.skew(i, skew);
    }
    std::vector<Pair> made;
    story_.clear();
    ledger_ = {};
    for (int step = 0; step < 120; step++) {
      std::uint64_t ms = 1 + random.below(30);
      real.pass(ms), oracle.pass(ms);
      std::size_t at = random.below(count), to = (at + 1 + random.below(count - 1)) % count;
      std::uint64_t what = random.below(100);
      if (what < 30) {
        change(real, oracle, at, random);
      } else if (what < 60) {  // with whatever the receiver has by now, or, as a repetition does, with what it had
        Vector since = real.applied(to), oracle_since = oracle.applied(to);
        made.push_back({real.make_since(at, since), oracle.make_since(at, oracle_since)});
        tell("fresh", made.size() - 1, made.back().real.from, to, deliver(real, oracle, made.back(), to));
      } else if (what < 75) {  // written to a disk for later
        made.push_back({real.make(at, to), oracle.make(at, to)});
        tell("kept", made.size() - 1, at, to);
      } else if (what < 95 && !made.empty()) {
        std::size_t number = random.below(made.size());
        const Pair& pair = made[number];
        if (pair.real.from != to) tell("old", number, pair.real.from, to, deliver(real, oracle, pair, to));
      } else {
        real.forget(at);
        story_.push_back(std::to_string(at) + " forgets up to " + since_start(real, at));
      }
      if (HasFatalFailure() || HasNonfatalFailure()) break;
      compare(real, oracle, at), compare(real, oracle, to);
      if (HasNonfatalFailure()) break;
    }
    if (HasNonfatalFailure()) return note(seed);
    real.exchange_all(), oracle.exchange_all();
    for (std::size_t i = 0; i < count; i++) {
      EXPECT_EQ(real.rows(i, "rows"), real.rows(0, "rows")) << "node " << i;
      EXPECT_EQ(real.side(i), real.side(0)) << "node " << i;
      EXPECT_EQ(real.rows(i, "rows"), oracle.rows(i, "rows")) << "node " << i << ", and the one that never forgets";
      EXPECT_EQ(forgotten(real, i), "") << "node " << i;
    }
    EXPECT_EQ(lost(real, count), "");
    if (HasNonfatalFailure()) note(seed);
  }

 private:
  void note(std::uint64_t seed) {
    std::string story;
    for (const std::string& line : story_) story += "\n  " + line;
    ADD_FAILURE() << "seed " << seed << story;
  }
  void tell(const char* what, std::size_t number, std::size_t from, std::size_t to, Taken taken = Taken::other) {
    constexpr const char* names[] = {"applied", "nothing new", "gap", "stale", "history", "clock", "incomplete", ""};
    story_.push_back(std::string(what) + " document " + std::to_string(number) + " of " + std::to_string(from) +
                     " to " + std::to_string(to) + " " + names[static_cast<std::size_t>(taken)]);
  }
  static std::string since_start(LooseNodes& nodes, std::size_t at) {
    Hlc horizon = nodes.core(at).state.prune_horizon;
    return horizon == 0 ? "nothing" : std::to_string(hlc_to_ms(horizon) - 1'700'000'000'000);
  }

  void compare(LooseNodes& real, LooseNodes& oracle, std::size_t at) {
    EXPECT_EQ(real.rows(at, "rows"), oracle.rows(at, "rows")) << "node " << at << ", and the one that never forgets";
  }

  // What is settled is not kept, except for rows that wait and what waits with them.
  static std::string forgotten(LooseNodes& nodes, std::size_t at) {
    std::size_t waiting = nodes.core(at).sides().size(), kept = nodes.core(at).window.size();
    return kept <= waiting ? "" : std::to_string(kept) + " kept, " + std::to_string(waiting) + " wait";
  }

  std::string lost(LooseNodes& nodes, std::size_t count) const {
    std::set<std::string> present, listed;
    auto note = [](std::set<std::string>& values, const std::string& json) {
      for (std::string& value : Ledger::values_in(json)) values.insert(std::move(value));
    };
    for (std::size_t i = 0; i < count; i++) {
      for (auto& [key, row] : nodes.store(i).rows("rows")) present.insert(Ledger::name_of(row.values[1].text));
      for (const SideRow& row : nodes.store(i).load_side()) note(present, row.payload);
      for (const ConflictRow& conflict : nodes.store(i).conflicts()) note(listed, conflict.loser);
    }
    std::string text;
    for (const std::string& value : ledger_.lost(present, listed)) text += value + " ";
    return text;
  }

  static Taken deliver(LooseNodes& real, LooseNodes& oracle, const Pair& pair, std::size_t to) {
    WantedRows wanted;
    Taken taken = real.deliver(pair.real, to, &wanted);
    if (taken == Taken::stale) return taken;  // of its twin nothing is stale: it must not know more
    if (taken == Taken::incomplete) {         // in its twin nothing is left out
      std::size_t from = pair.real.from;
      EXPECT_EQ(real.deliver(real.make_since(from, real.applied(to), 0, wanted), to), Taken::applied);
      EXPECT_EQ(oracle.deliver(oracle.make_since(from, oracle.applied(to)), to), Taken::applied);
      return taken;
    }
    EXPECT_EQ(oracle.deliver(pair.oracle, to), taken);
    return taken;
  }

  // One transaction or some, before the log is read.
  void change(LooseNodes& real, LooseNodes& oracle, std::size_t at, SeededRandom& random) {
    std::uint64_t transactions = random.chance(300) ? 1 + random.below(3) : 1;
    for (; transactions > 0; transactions--) transact(real, oracle, at, random);
    real.settle(at), oracle.settle(at);
  }

  void transact(LooseNodes& real, LooseNodes& oracle, std::size_t at, SeededRandom& random) {
    for (LooseNodes* nodes : {&real, &oracle}) nodes->store(at).begin_local();
    Ledger::Page page;
    try {
      for (std::uint64_t changes = random.chance(300) ? 1 + random.below(3) : 1; changes > 0; changes--) {
        Change change = choose(real, at, random);
        tell(at, change, real.now_ms());
        write_down(page, real.store(at), change);
        for (LooseNodes* nodes : {&real, &oracle}) carry_out(nodes->store(at), change);
      }
      for (LooseNodes* nodes : {&real, &oracle}) nodes->store(at).commit_local();
      ledger_.take(page, std::to_string(at));
    } catch (const Error&) {  // a UNIQUE value is taken: in both
      story_.back() += ", and gives up";
      for (LooseNodes* nodes : {&real, &oracle}) nodes->store(at).abort_local();
    }
  }

  static void write_down(Ledger::Page& page, const MemoryStore& store, const Change& change) {
    auto& rows = store.rows("rows");
    auto here = rows.find(encode_key(change.key));
    bool writes = change.what == Change::insert || (change.what == Change::update && change.column == 1);
    if (writes) Ledger::wrote(page, Value::of_text(change.value));
    if (change.what == Change::truncate)
      for (auto& [key, row] : rows) Ledger::saw_go(page, row.values.view());
    else if (here != rows.end() && (writes || change.what == Change::remove))
      Ledger::saw_go(page, here->second.values.view());
  }

  void tell(std::size_t at, const Change& change, std::uint64_t now_ms) {
    constexpr const char* names[] = {"inserts", "updates", "removes", "truncates", "swaps"};
    story_.push_back(std::to_string(at) + " " + names[change.what] + " " + key_to_text(encode_key(change.key)) + " " +
                     std::to_string(change.column) + " " + change.value.substr(0, 8) + " at " +
                     std::to_string(now_ms - 1'700'000'000'000));
  }

  Change choose(LooseNodes& nodes, std::size_t at, SeededRandom& random) {
    Change change;
    std::uint64_t key = random.below(std::size(keys));
    change.key = {GetParam().integer ? Value::of_integer(static_cast<std::int64_t>(key) + 1)
                                     : Value::of_text(keys[key])};
    change.value = "v" + std::to_string(++values_);
    if (GetParam().long_values) change.value.resize(limits::omitted_value_bytes + 1, Ledger::padding);
    change.tag = tags[random.below(std::size(tags))];
    change.other_tag = tags[random.below(std::size(tags))];
    change.column = 1 + random.below(3);
    bool here = nodes.store(at).rows("rows").contains(encode_key(change.key));
    if (GetParam().truncates && random.chance(80))
      change.what = Change::truncate;
    else if (!here)
      change.what = Change::insert;
    else
      change.what = random.chance(650) ? Change::update : Change::remove;
    auto& rows = nodes.store(at).rows("rows");
    if (here && GetParam().uniques > 0 && random.chance(200)) {
      auto other = std::next(rows.begin(), static_cast<std::ptrdiff_t>(random.below(rows.size())));
      change.what = Change::swap;
      change.other_key = decode_key(other->first);
      if (!GetParam().integer)
        change.other_key[0] = Value::of_text(*std::find(std::begin(keys), std::end(keys), change.other_key[0].text));
      change.column = 2 + random.below(2);
    }
    return change;
  }

  static Value tag_of(const std::string& tag) {
    return GetParam().uniques > 0 && tag != "green" ? Value::of_text(tag) : Value::of_null();
  }

  static void carry_out(MemoryStore& store, const Change& change) {
    if (change.what == Change::truncate) return store.truncate("rows");
    if (change.what == Change::remove) return store.remove("rows", change.key);
    if (change.what == Change::insert) {
      Row row = {change.key[0], Value::of_text(change.value), tag_of(change.tag), tag_of(change.other_tag)};
      return store.insert("rows", row);
    }
    OwnedRow row = store.rows("rows").at(encode_key(change.key)).values;
    if (change.what == Change::swap) {
      OwnedRow other = store.rows("rows").at(encode_key(change.other_key)).values, without = row;
      without.set(change.column, Value::of_null());
      store.update("rows", change.key, without.view());
      OwnedRow swapped = other;
      swapped.set(change.column, row[change.column]);
      store.update("rows", change.other_key, swapped.view());
      without.set(change.column, other[change.column]);
      return store.update("rows", change.key, without.view());
    }
    row.set(change.column, change.column == 1 ? Value::of_text(change.value) : tag_of(change.tag));
    store.update("rows", change.key, row.view());
  }

  std::uint64_t values_ = 0;
  std::vector<std::string> story_;
  Ledger ledger_;
};

TEST_P(AnyOrder, OneStateAndForgettingIsInvisible) {
  const char* wanted = std::getenv("ROWMESH_SEEDS");
  std::uint64_t seeds = wanted ? std::strtoull(wanted, nullptr, 10) : 20;
  for (std::uint64_t seed = 1; seed <= seeds && !HasFailure(); seed++) run(seed);
}

INSTANTIATE_TEST_SUITE_P(
    Tables, AnyOrder,
    ::testing::Values(Wanted{.name = "natural"}, Wanted{.name = "held", .integer = true},
                      Wanted{.name = "merged", .integer = true, .policy = KeyCollision::merge},
                      Wanted{.name = "truncated", .truncates = true},
                      Wanted{.name = "held_truncated", .integer = true, .truncates = true},
                      Wanted{.name = "unique", .uniques = 1}, Wanted{.name = "two_uniques", .uniques = 2},
                      Wanted{.name = "held_unique", .integer = true, .uniques = 1},
                      Wanted{
                          .name = "merged_two_uniques", .integer = true, .policy = KeyCollision::merge, .uniques = 2},
                      Wanted{.name = "left_out", .long_values = true},
                      Wanted{.name = "left_out_unique", .uniques = 1, .long_values = true},
                      Wanted{.name = "left_out_held", .integer = true, .long_values = true}),
    [](auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace rowmesh::testing
