// Property test of renumbering (docs/model.md, "Two rows under one integer key"): whatever the order in which documents
// arrive, however they are grouped and however often each arrives, with forgetting in between, all nodes end equal, no
// row is lost, and what refers to a row still does. The oracle are the same nodes that never forget. Both renumber by
// themselves, and what is still remembered decides about new numbers: so rows are compared by what they are, not by
// their numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "shared/testing/loose_nodes.hpp"

namespace rowmesh::testing {
namespace {

constexpr std::int64_t anchor = 100;  // new numbers are above it, so that nobody inserts one by himself

struct Wanted {
  const char* name;
  bool truncates = false;
  std::size_t uniques = 0;
};

// `tag` says which thing it is and never changes. A part is written by one node only; `meant` is the thing's tag.
void create(MemoryStore& store, const Wanted& wanted) {
  Table things;
  things.wire_name = "things";
  things.columns = {{"id", ColumnType::integer, "", true, false},
                    {"tag", ColumnType::text, "text", false, false},
                    {"a", ColumnType::text, "text", false, false},
                    {"u", ColumnType::text, "text", false, false},
                    {"w", ColumnType::text, "text", false, false}};
  things.key = {0};
  things.integer_key = true;
  if (wanted.uniques > 0) things.uniques.push_back({"things_u", {3}});
  if (wanted.uniques > 1) things.uniques.push_back({"things_w", {4}});
  TableId id = store.create_table(things).id;
  Table parts;
  parts.wire_name = "parts";
  parts.columns = {{"code", ColumnType::text, "text", true, false},
                   {"thing", ColumnType::integer, "integer", false, false},
                   {"meant", ColumnType::text, "text", false, false}};
  parts.key = {0};
  parts.references = {{1, id}};
  store.create_table(parts);
}

std::string text_of(const Value& value) { return value.is_null() ? "-" : std::string(value.text); }

// What a node shows, without numbers: "tag=a,u,w ..." and "part>tag ...".
class Shown {
 public:
  explicit Shown(MemoryStore& store) {
    for (auto& [key, row] : store.rows("things")) {
      RowView view = row.values.view();
      tags_[view[0].integer] = text_of(view[1]);
      numbers_[text_of(view[1])] = view[0].integer;
      things_.push_back(text_of(view[1]) + "=" + text_of(view[2]) + "," + text_of(view[3]) + "," + text_of(view[4]));
    }
    std::sort(things_.begin(), things_.end());
    for (auto& [key, row] : store.rows("parts")) {
      RowView view = row.values.view();
      auto named = view[1].is_null() ? tags_.end() : tags_.find(view[1].integer);
      std::string meant = text_of(view[2]), names = named == tags_.end() ? "nothing" : named->second;
      parts_ += text_of(view[0]) + ">" + (numbers_.contains(meant) ? names : "gone") + " ";
      if (numbers_.contains(meant) && names != meant)
        wrong_ += text_of(view[0]) + " means " + meant + ", names " + names + "; ";
    }
  }
  std::string text() const {
    std::string text;
    for (const std::string& thing : things_) text += thing + " ";
    return text + parts_;
  }
  const std::string& wrong_references() const { return wrong_; }
  std::optional<std::int64_t> number(const std::string& tag) const {
    auto at = numbers_.find(tag);
    return at == numbers_.end() ? std::nullopt : std::optional(at->second);
  }
  bool has(std::int64_t number) const { return tags_.contains(number); }
  std::string any_tag(SeededRandom& random) const {
    return std::next(numbers_.begin(), static_cast<std::ptrdiff_t>(random.below(numbers_.size())))->first;
  }

 private:
  std::map<std::int64_t, std::string> tags_;
  std::map<std::string, std::int64_t> numbers_;
  std::vector<std::string> things_;
  std::string parts_, wrong_;
};

struct Change {
  enum What : std::uint8_t { insert, update, remove, truncate, refer } what = insert;
  std::int64_t number = 0;  // insert
  std::string tag, value, u, w, part;
  std::size_t column = 2;
};

class AnyNumber : public ::testing::TestWithParam<Wanted> {
 protected:
  struct Pair {
    LooseNodes::Document real, oracle;
  };

  void run(std::uint64_t seed) {
    SeededRandom random(seed);
    std::size_t count = 3 + random.below(3);
    auto make_tables = [](MemoryStore& store) { create(store, GetParam()); };
    LooseNodes real(count, make_tables), oracle(count, make_tables, false);
    Row first = {Value::of_integer(anchor), Value::of_text("anchor"), {}, {}, {}};
    for (LooseNodes* nodes : {&real, &oracle}) nodes->insert(0, "things", first), nodes->exchange_all(3);
    std::vector<Pair> made;
    story_.clear();
    for (int step = 0; step < 120; step++) {
      std::uint64_t ms = 1 + random.below(30);
      real.pass(ms), oracle.pass(ms);
      std::size_t at = random.below(count), to = (at + 1 + random.below(count - 1)) % count;
      std::uint64_t what = random.below(100);
      if (what < 35) {
        change(real, oracle, at, random);
      } else if (what < 65) {
        Vector since = real.applied(to), oracle_since = oracle.applied(to);
        made.push_back({real.make_since(at, since), oracle.make_since(at, oracle_since)});
        tell("fresh", made.size() - 1, at, to, deliver(real, oracle, made.back(), to));
      } else if (what < 78) {
        made.push_back({real.make(at, to), oracle.make(at, to)});
        tell("kept", made.size() - 1, at, to, Taken::other);
      } else if (what < 93 && !made.empty()) {
        std::size_t number = random.below(made.size());
        if (made[number].real.from != to)
          tell("old", number, made[number].real.from, to, deliver(real, oracle, made[number], to));
      } else {
        real.forget(at);
        story_.push_back(std::to_string(at) + " forgets");
      }
    }
    real.exchange_all(16), oracle.exchange_all(16);
    check(real, oracle);
    if (HasFailure()) note(seed);
  }

 private:
  static void check(LooseNodes& real, LooseNodes& oracle) {
    for (std::size_t i = 0; i < real.size(); i++) {
      EXPECT_EQ(real.rows(i, "things"), real.rows(0, "things")) << "node " << i;
      EXPECT_EQ(real.rows(i, "parts"), real.rows(0, "parts")) << "node " << i;
      EXPECT_EQ(real.side(i), real.side(0)) << "node " << i;
      Shown shown(real.store(i));
      EXPECT_EQ(shown.text(), Shown(oracle.store(i)).text()) << "node " << i << ", and the one that never forgets";
      EXPECT_EQ(shown.wrong_references(), "") << "node " << i;
      std::size_t waiting = real.core(i).sides().size(), kept = real.core(i).window.size();
      EXPECT_LE(kept, waiting) << "node " << i << " keeps what has settled";
    }
  }
  void note(std::uint64_t seed) {
    std::string story;
    for (const std::string& line : story_) story += "\n  " + line;
    ADD_FAILURE() << "seed " << seed << story;
  }
  void tell(const char* what, std::size_t number, std::size_t from, std::size_t to, Taken taken) {
    constexpr const char* names[] = {"applied", "nothing new", "gap", "stale", "history", "clock", "incomplete", ""};
    story_.push_back(std::string(what) + " document " + std::to_string(number) + " of " + std::to_string(from) +
                     " to " + std::to_string(to) + " " + names[static_cast<std::size_t>(taken)]);
  }

  static Taken deliver(LooseNodes& real, LooseNodes& oracle, const Pair& pair, std::size_t to) {
    Taken taken = real.deliver(pair.real, to);
    if (taken == Taken::stale) return taken;
    EXPECT_EQ(oracle.deliver(pair.oracle, to), taken);
    return taken;
  }

  void change(LooseNodes& real, LooseNodes& oracle, std::size_t at, SeededRandom& random) {
    Shown here(real.store(at)), there(oracle.store(at));
    Change change = choose(here, at, random);
    // Which rows wait at the moment may depend on their numbers: a change that only one of the two could make is left.
    bool possible = change.what == Change::insert     ? !here.has(change.number) && !there.has(change.number)
                    : change.what == Change::truncate ? true
                                                      : here.number(change.tag) && there.number(change.tag);
    if (!possible) return;
    constexpr const char* names[] = {"inserts", "updates", "removes", "truncates", "refers to"};
    std::string what = std::to_string(at) + " " + names[change.what] + " " + change.tag;
    if (change.what == Change::insert) what += " as " + std::to_string(change.number) + " " + change.u + "," + change.w;
    if (change.what == Change::update)
      what += " column " + std::to_string(change.column) + " " + change.u + "," + change.w;
    if (change.what == Change::refer) what += " by " + change.part;
    story_.push_back(what);
    for (LooseNodes* nodes : {&real, &oracle}) {
      Shown before(nodes->store(at));
      nodes->store(at).begin_local();
      try {
        carry_out(nodes->store(at), before, change);
        nodes->store(at).commit_local();
      } catch (const Error&) {
        nodes->store(at).abort_local();  // a UNIQUE value is taken: in both
      }
      nodes->settle(at);
    }
  }

  Change choose(const Shown& here, std::size_t at, SeededRandom& random) {
    constexpr const char* marks[] = {"red", "blue", ""};
    Change change;
    std::string name = std::to_string(at) + "." + std::to_string(++names_);
    change.number = 1 + static_cast<std::int64_t>(random.below(3));
    change.value = "v" + name;
    change.tag = "t" + name;
    change.u = marks[random.below(3)], change.w = marks[random.below(3)];
    change.column = 2 + (GetParam().uniques > 0 ? random.below(3) : 0);
    change.part = "p" + std::to_string(at) + "." + std::to_string(random.below(2));
    std::uint64_t what = random.below(100);
    if (GetParam().truncates && what < 5) {
      change.what = Change::truncate;
    } else if (what >= 40 && here.number("anchor")) {
      change.what = what < 55 ? Change::update : what < 65 ? Change::remove : Change::refer;
      change.tag = here.any_tag(random);
      if (change.tag == "anchor" && change.what != Change::refer) change.what = Change::insert, change.tag = "t" + name;
    }
    return change;
  }

  static Value mark(const std::string& mark) {
    return GetParam().uniques == 0 || mark.empty() ? Value::of_null() : Value::of_text(mark);
  }

  static void carry_out(MemoryStore& store, const Shown& before, const Change& change) {
    if (change.what == Change::truncate) return store.truncate("things");
    if (change.what == Change::insert) {
      Row row = {Value::of_integer(change.number), Value::of_text(change.tag), Value::of_text(change.value),
                 mark(change.u), mark(change.w)};
      return store.insert("things", row);
    }
    Row key = {Value::of_integer(*before.number(change.tag))};
    if (change.what == Change::remove) return store.remove("things", key);
    if (change.what == Change::refer) {
      Row part = {Value::of_text(change.part), key[0], Value::of_text(change.tag)};
      std::span<const Value> code = std::span(part).first(1);
      auto here = store.rows("parts").find(encode_key(code));
      if (here == store.rows("parts").end()) return store.insert("parts", part);
      // Its row was deleted and another one has got the number: writing what stands there is no change (docs/model.md).
      if (!same_value(here->second.values[1], part[1])) return store.update("parts", code, part);
      store.remove("parts", code);
      return store.insert("parts", part);
    }
    OwnedRow row = store.rows("things").at(encode_key(key)).values;
    row.set(change.column, change.column == 2   ? Value::of_text(change.value)
                           : change.column == 3 ? mark(change.u)
                                                : mark(change.w));
    store.update("things", key, row.view());
  }

  std::uint64_t names_ = 0;
  std::vector<std::string> story_;
};

TEST_P(AnyNumber, OneStateNoRowLostAndReferencesKept) {
  const char* wanted = std::getenv("ROWMESH_SEEDS");
  std::uint64_t seeds = wanted ? std::strtoull(wanted, nullptr, 10) : 20;
  const char* first = std::getenv("ROWMESH_FIRST_SEED");
  std::uint64_t begin = first ? std::strtoull(first, nullptr, 10) : 1;
  for (std::uint64_t seed = begin; seed < begin + seeds && !HasFailure(); seed++) run(seed);
}

INSTANTIATE_TEST_SUITE_P(Tables, AnyNumber,
                         ::testing::Values(Wanted{.name = "renumbered"}, Wanted{.name = "truncated", .truncates = true},
                                           Wanted{.name = "unique", .uniques = 1},
                                           Wanted{.name = "two_uniques", .uniques = 2}),
                         [](auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace rowmesh::testing
