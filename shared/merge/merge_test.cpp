// The merge as algebra: whatever the order in which random states of one key arrive, the outcome is the same.
#include "shared/merge/merge.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace rowmesh {
namespace {

constexpr std::size_t columns = 3;

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  std::uint64_t below(std::uint64_t bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ % bound;
  }

 private:
  std::uint64_t state_;
};

Table table(bool integer_key) {
  Table table;
  table.id = 1;
  table.columns = {{"id", integer_key ? ColumnType::integer : ColumnType::text, "", true, false},
                   {"a", ColumnType::text, "", false, false},
                   {"b", ColumnType::text, "", false, false}};
  table.key = {0};
  table.integer_key = integer_key;
  return table;
}

// What once happened to one life; every state of it that anybody has is a part of this.
struct Fate {
  Version birth, removed;
  std::array<std::vector<Version>, columns> written;  // ascending, the birth first
  bool moves = false;
  Version moved;
};

// A state of the key as some node has it.
struct Known {
  struct Life {
    Version birth, removed;
    std::array<Version, columns> versions;
    bool moved = false;
    Version move_version;
  };
  std::vector<Life> lives;
};

std::string value_of(Version version) {
  return "v" + std::to_string(version.hlc) + "." + std::to_string(version.origin);
}

std::vector<Fate> random_fates(Chance& chance) {
  std::vector<Fate> fates(1 + chance.below(3));
  Hlc next = 1;
  for (Fate& fate : fates) {
    fate.birth = {next += 1 + chance.below(3), 1 + chance.below(3)};
    for (auto& written : fate.written) {
      written.push_back(fate.birth);
      for (std::uint64_t more = chance.below(3); more > 0; more--)
        written.push_back({written.back().hlc + 1 + chance.below(4), 1 + chance.below(3)});
    }
    if (chance.below(3) == 0) fate.removed = {fate.birth.hlc + 1 + chance.below(9), 1 + chance.below(3)};
    fate.moves = chance.below(5) == 0;
    fate.moved = {fate.birth.hlc + 2, fate.birth.origin};
  }
  return fates;
}

Known random_part(Chance& chance, const std::vector<Fate>& fates) {
  Known known;
  for (const Fate& fate : fates) {
    if (chance.below(4) == 0) continue;
    Known::Life life{fate.birth, {}, {}, false, fate.moved};
    for (std::size_t i = 0; i < columns; i++) life.versions[i] = fate.written[i][chance.below(fate.written[i].size())];
    if (chance.below(2)) life.removed = fate.removed;
    life.moved = fate.moves && chance.below(2);
    known.lives.push_back(life);
  }
  return known;
}

// One node: the state of the key and the row in its table.
struct Replica {
  explicit Replica(bool integer_key) : table(rowmesh::table(integer_key)) {}

  void merge(const Known& known) {
    std::vector<IncomingLife> incoming;
    std::vector<std::array<std::string, columns>> texts(known.lives.size());
    std::vector<Row> rows(known.lives.size());
    for (std::size_t l = 0; l < known.lives.size(); l++) {
      const Known::Life& life = known.lives[l];
      IncomingLife arriving;
      arriving.birth = life.birth;
      arriving.removed = life.removed;
      arriving.columns.base = life.birth;
      for (std::size_t i = 0; i < columns; i++) {
        arriving.columns.set(static_cast<ColumnIndex>(i), life.versions[i]);
        texts[l][i] = i == 0 ? "key" : value_of(life.versions[i]);
        rows[l].push_back(i == 0 && table.integer_key ? Value::of_integer(7) : Value::of_text(texts[l][i]));
      }
      if (life.moved)
        arriving.moved = std::make_unique<Move>(Move{life.move_version, "elsewhere", life.move_version, {}});
      arriving.has_values = !arriving.dead();
      if (arriving.has_values) arriving.values = rows[l];
      incoming.push_back(std::move(arriving));
    }
    MergeContext context{.table = table, .had_seen = [](Version, Version) { return false; }};
    std::optional<OwnedRow> desired;
    RowView here = row ? row->view() : RowView();
    merge_lives(state, incoming, here, context, losses, desired);
    row = std::move(desired);
    state.set_in_table(row ? shown_life(state, table.keeps_lives_apart(), {}) : nullptr);
  }

  std::string text() const {
    std::string text;
    for (const Life& life : state.lives) {
      text += "[" + value_of(life.birth) + (life.removed.settled() ? "" : " removed " + value_of(life.removed)) +
              (life.moved ? " moved " + value_of(life.moved->version) : "");
      for (std::size_t i = 0; i < columns; i++) text += " " + value_of(life.columns.of(static_cast<ColumnIndex>(i)));
      if (life.side) {
        text += " aside";
        for (std::size_t i = 1; i < life.side->values.size(); i++) text += " " + std::string(life.side->values[i].text);
      }
      text += "] ";
    }
    text += "shows";
    if (row)
      for (std::size_t i = 1; i < row->size(); i++) text += " " + std::string((*row)[i].text);
    return text;
  }

  Table table;
  RowState state;
  std::optional<OwnedRow> row;
  std::vector<Loss> losses;
};

Replica merged(bool integer_key, const std::vector<Known>& parts, const std::vector<std::size_t>& order) {
  Replica replica(integer_key);
  for (std::size_t part : order) replica.merge(parts[part]);
  return replica;
}

class MergeAlgebra : public ::testing::TestWithParam<bool> {};

TEST_P(MergeAlgebra, OrderDoesNotMatter) {
  for (std::uint64_t seed = 1; seed <= 4000; seed++) {
    Chance chance(seed);
    auto fates = random_fates(chance);
    std::vector<Known> parts = {random_part(chance, fates), random_part(chance, fates), random_part(chance, fates)};
    std::vector<std::size_t> order = {0, 1, 2};
    std::string first = merged(GetParam(), parts, order).text();
    while (std::next_permutation(order.begin(), order.end()))
      ASSERT_EQ(merged(GetParam(), parts, order).text(), first)
          << "seed " << seed << ", order " << order[0] << order[1] << order[2];
  }
}

TEST_P(MergeAlgebra, TwiceIsOnce) {
  for (std::uint64_t seed = 1; seed <= 2000; seed++) {
    Chance chance(seed);
    auto fates = random_fates(chance);
    std::vector<Known> parts = {random_part(chance, fates), random_part(chance, fates)};
    ASSERT_EQ(merged(GetParam(), parts, {0, 1, 1, 0, 0}).text(), merged(GetParam(), parts, {0, 1}).text())
        << "seed " << seed;
  }
}

// What one node has merged arrives at another as a whole: the same as if its parts had come one by one.
TEST_P(MergeAlgebra, GroupingDoesNotMatter) {
  for (std::uint64_t seed = 1; seed <= 2000; seed++) {
    Chance chance(seed);
    auto fates = random_fates(chance);
    std::vector<Known> parts = {random_part(chance, fates), random_part(chance, fates), random_part(chance, fates)};
    Replica relay = merged(GetParam(), parts, {1, 2});
    Known joined;
    for (const Life& life : relay.state.lives) {
      Known::Life part{
          life.birth, life.removed, {}, life.moved != nullptr, life.moved ? life.moved->version : Version{}};
      for (std::size_t i = 0; i < columns; i++) part.versions[i] = life.columns.of(static_cast<ColumnIndex>(i));
      joined.lives.push_back(part);
    }
    Replica through = merged(GetParam(), parts, {0});
    through.merge(joined);
    ASSERT_EQ(through.text(), merged(GetParam(), parts, {0, 1, 2}).text()) << "seed " << seed;
  }
}

// H14: a value that was here or came, and does not show afterwards, is listed or belongs to a life that waits beside
// the table.
TEST_P(MergeAlgebra, WhatDoesNotShowIsListed) {
  for (std::uint64_t seed = 1; seed <= 2000; seed++) {
    Chance chance(seed);
    auto fates = random_fates(chance);
    std::vector<Known> parts = {random_part(chance, fates), random_part(chance, fates)};
    Replica replica = merged(GetParam(), parts, {0, 1});
    std::string traces = replica.text();
    for (const Loss& loss : replica.losses)
      for (std::size_t i = 0; i < loss.loser.size(); i++)
        if (loss.columns.has(static_cast<ColumnIndex>(i))) traces += " " + std::string(loss.loser[i].text);
    for (const Known& part : parts)
      for (const Known::Life& life : part.lives) {
        if (!life.removed.settled() || life.moved) continue;
        for (std::size_t i = 1; i < columns; i++)
          ASSERT_NE(traces.find(value_of(life.versions[i])), std::string::npos)
              << "seed " << seed << ": " << value_of(life.versions[i]) << " in " << traces;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Keys, MergeAlgebra, ::testing::Bool(),
                         [](auto& info) { return info.param ? std::string("integer") : std::string("natural"); });

// Symptom: a row was removed on some nodes only after a database that had been copied was added to them. Mechanism: the
// copy had deleted, later, a life that had ended elsewhere; who had forgotten that life took the delete for one of the
// row that had come in its place. Mend: who adopts a copy takes the source's word for how and whether a life ended, and
// names as settled what is settled there (Merger::end_as_there).
TEST(MergeAdopted, ALifeThatEndedAtTheSourceEndedAsItSays) {
  Table table = rowmesh::table(false);
  MergeContext context{.table = table, .sender_horizon = 100};
  context.copy = true;
  context.adopted = {100, 9};
  context.had_seen = [](Version, Version) { return true; };
  std::vector<Loss> losses;
  std::optional<OwnedRow> desired;
  auto removed_here = [](Version birth) {
    RowState state;
    Life life(birth);
    life.removed = {200, 1};
    state.lives.push_back(std::move(life));
    return state;
  };
  RowState known = removed_here({50, 2});
  std::array<IncomingLife, 1> dead;
  dead[0].birth = {50, 2};
  dead[0].removed = {80, 2};
  merge_lives(known, dead, {}, context, losses, desired);
  EXPECT_EQ(known.lives.at(0).removed, (Version{80, 2}));

  RowState unknown = removed_here({50, 2});
  merge_lives(unknown, {}, {}, context, losses, desired);
  EXPECT_EQ(unknown.lives.at(0).removed, context.adopted);

  RowState settled = removed_here({50, 2});
  Row values(columns, Value::of_text("x"));
  std::array<IncomingLife, 1> lives;
  lives[0].has_values = true;
  lives[0].values = values;
  merge_lives(settled, lives, {}, context, losses, desired);
  EXPECT_TRUE(settled.lives.at(0).birth.settled());
  EXPECT_EQ(settled.lives.at(0).removed, (Version{200, 1}));
}

// Symptom: a row that a prepared transaction had made was nowhere, and in no list. Mechanism: a truncate was heard of
// before that transaction was committed, so the row was shipped as dead; when it was taken out of the table, whoever
// had truncated had answered that he has all of it. Mend: what a truncate killed before it was seen here was seen by
// nobody (Merger::list_dead).
TEST(MergeTruncated, WhatWasCommittedAfterTheTruncateWasHeardOfIsListed) {
  Table table = rowmesh::table(false);
  MergeContext context{.table = table, .prune_horizon = 10};
  context.truncated = {100, 2};
  context.had_seen = [](Version, Version) { return true; };
  std::vector<Loss> losses;
  std::optional<OwnedRow> desired;
  RowState state;
  Life life(Version{50, 1});
  life.removed = context.truncated;
  state.lives.push_back(std::move(life));
  Row values(columns, Value::of_text("x"));
  merge_lives(state, {}, values, context, losses, desired);
  EXPECT_FALSE(desired);
  ASSERT_EQ(losses.size(), 1u);
  EXPECT_EQ(losses[0].loser.view()[1].text, "x");
}

// Symptom: rows were gone everywhere, and in no list. Mechanism: a table of a new server was truncated while its copy
// ran, and the rows that were still to come had settled, so they counted as seen. Mend: who truncated had not seen them
// (Merger::list_void). What the sender has truncated itself it knows of.
TEST(MergeTruncated, WhatWasStillToComeOfACopyIsListed) {
  Table table = rowmesh::table(false);
  MergeContext context{.table = table, .prune_horizon = 10, .sender_horizon = 10};
  context.copy = context.first_copy = true;
  context.truncated = {100, 2};
  context.had_seen = [](Version, Version) { return true; };
  for (bool there_too : {false, true}) {
    if (there_too) context.sender_truncated = context.truncated;
    std::vector<Loss> losses;
    std::optional<OwnedRow> desired;
    RowState state;
    Row values(columns, Value::of_text("x"));
    std::vector<IncomingLife> lives(1);
    lives[0].has_values = true;
    lives[0].values = values;
    merge_lives(state, lives, {}, context, losses, desired);
    EXPECT_FALSE(desired);
    EXPECT_EQ(losses.size(), there_too ? 0u : 1u);
  }
}

// Two rows had one number in a backup. The source has one of them there, and has settled it: the older one, for the
// younger has got another number since (match.cpp, match_settled).
TEST(MergeAdopted, OfTwoRowsUnderOneNumberTheSourceHasTheOlder) {
  Table table = rowmesh::table(true);
  MergeContext context{.table = table, .prune_horizon = 10, .sender_horizon = 100};
  context.copy = true;
  context.adopted = {100, 9};
  context.had_seen = [](Version, Version) { return true; };
  Version older{50, 1}, younger{60, 2};
  Row here(columns, Value::of_text("older")), there(columns, Value::of_text("there"));
  RowState state;
  for (Version birth : {older, younger}) {
    Life life(birth);
    life.columns.base = birth;
    life.in_table = birth == older;
    if (birth == younger) {
      life.side = std::make_unique<Side>();
      life.side->kind = SideKind::held;
      life.side->values = OwnedRow(Row(columns, Value::of_text("younger")));
    }
    state.lives.push_back(std::move(life));
  }
  std::vector<IncomingLife> lives(1);
  lives[0].has_values = true;
  lives[0].values = there;
  std::vector<Loss> losses;
  std::optional<OwnedRow> desired;
  merge_lives(state, lives, here, context, losses, desired);
  ASSERT_EQ(state.lives.size(), 2u);
  EXPECT_TRUE(state.lives[0].birth.settled()) << "the older one, as the source calls it";
  EXPECT_EQ(state.lives[1].birth, younger);
  EXPECT_TRUE(state.lives[1].dead({})) << "it is under another number there";
}

// Symptom: "side rows of 0 and 1: 3 merged 'bob' |": a key with two lives on the source had one where a copy of it had
// been adopted. (match.cpp, settled_is_an_older_one)
TEST(MergeAdopted, OfTwoLivesOfTheSourceOneIsTheRowThatIsHere) {
  Table table = rowmesh::table(false);
  MergeContext context{.table = table, .prune_horizon = 100, .sender_horizon = 100};
  context.copy = true;
  context.adopted = {100, 9};
  context.had_seen = [](Version, Version) { return true; };
  std::vector<Loss> losses;
  std::optional<OwnedRow> desired;
  auto lives_of = [&](std::vector<Version> births, Version first_removed) {
    RowState state;
    state.lives.emplace_back();
    Row here(columns, Value::of_text("here")), there(columns, Value::of_text("there"));
    std::vector<IncomingLife> lives(births.size());
    for (std::size_t i = 0; i < births.size(); i++) {
      lives[i].birth = births[i];
      lives[i].columns.base = births[i];
      if (i == 0) lives[i].removed = first_removed;
      lives[i].has_values = !lives[i].dead();
      if (lives[i].has_values) lives[i].values = there;
    }
    merge_lives(state, lives, here, context, losses, desired);
    std::vector<Version> after;
    for (const Life& life : state.lives) after.push_back(life.birth);
    return after;
  };
  Version older{50, 1}, younger{60, 2};
  EXPECT_EQ(lives_of({older, younger}, {}), (std::vector<Version>{{}, younger}));
  EXPECT_EQ(lives_of({{}, younger}, {}), (std::vector<Version>{{}, younger}));
  EXPECT_EQ(lives_of({younger}, {}), (std::vector<Version>{{}}));
  EXPECT_EQ(lives_of({older, younger}, {70, 1}), (std::vector<Version>{{}}));  // which is the younger one, then
}

struct Merged {
  RowState state;
  std::vector<Loss> losses;
};

// A document names two lives of a row that has settled here: one without values, perhaps removed, and a younger one.
Merged merge_into_settled(const MergeContext& context, Version older, Version removed, Version younger) {
  Row here(columns, Value::of_text("here"));
  std::vector<IncomingLife> lives(2);
  lives[0].birth = lives[0].columns.base = older;
  lives[0].removed = removed;
  lives[1].birth = lives[1].columns.base = younger;
  lives[1].has_values = true;
  lives[1].values = here;
  Merged merged;
  merged.state.lives.emplace_back();
  std::optional<OwnedRow> desired;
  merge_lives(merged.state, lives, here, context, merged.losses, desired);
  return merged;
}

// (match.cpp, match_life)
TEST(MergeAdopted, WhatATruncateKilledThatHasSettledHereIsGone) {
  Table table = rowmesh::table(false);
  MergeContext context{.table = table, .prune_horizon = 100, .sender_horizon = 20, .sender_truncated = {60, 1}};
  context.copy = true;
  context.adopted = {20, 9};
  context.had_seen = [](Version, Version) { return true; };
  RowState state = merge_into_settled(context, {50, 1}, {}, {70, 1}).state;
  ASSERT_EQ(state.lives.size(), 1u);
  EXPECT_TRUE(state.lives[0].birth.settled());
  EXPECT_TRUE(plain(state, {}));
}

// Symptom: a row that nobody had removed vanished on all servers, and was in no list, soon after a server had been
// added to two that were at work. Mechanism: who had forgotten both lives of its number heard of them once more from
// the new one, whose changes come late; the end of the first counted as that of the row that is here, the second. Mend:
// the living one is the row that is here, whatever comes late (match.cpp, ended_before_another).
TEST(MergeLate, AnEndThatIsHeardOfAgainHitsNotTheRowThatCameAfterIt) {
  Table table = rowmesh::table(true);
  const std::map<Origin, Hlc> late = {{1, 10}};
  MergeContext context{.table = table, .prune_horizon = 100, .sender_horizon = 0};
  context.late = &late;
  context.had_seen = [](Version, Version) { return true; };
  auto [state, losses] = merge_into_settled(context, {50, 1}, {60, 1}, {70, 2});
  ASSERT_EQ(state.lives.size(), 1u);
  EXPECT_FALSE(state.lives[0].dead({}));
  EXPECT_TRUE(losses.empty());
}

// (merge.cpp, Merger::merge)
TEST(MergeAdopted, ARowThatIsNewerHereIsCalledAsThere) {
  Table table = rowmesh::table(false);
  MergeContext context{.table = table, .prune_horizon = 10, .sender_horizon = 100};
  context.copy = true;
  context.adopted = {100, 9};
  context.had_seen = [](Version, Version) { return true; };
  Row here(columns, Value::of_text("here")), there(columns, Value::of_text("there"));
  RowState state;
  state.lives.emplace_back(Version{50, 1});
  state.lives[0].columns.base = {200, 2};
  state.lives[0].in_table = true;
  std::vector<IncomingLife> lives(1);
  lives[0].has_values = true;
  lives[0].values = there;
  std::vector<Loss> losses;
  std::optional<OwnedRow> desired;
  EXPECT_TRUE(merge_lives(state, lives, here, context, losses, desired)) << "or it is not written down";
  ASSERT_EQ(state.lives.size(), 1u);
  EXPECT_TRUE(state.lives[0].birth.settled());
  EXPECT_EQ((*desired)[1].text, "here");
}

// Symptom: one node went on showing an edit that the others had not. Mechanism: the row had been deleted by somebody
// who had not seen the edit, and all of that was forgotten, by what another database under this one's identity had
// announced; the edit, which is newer than that, was taken for one of the row that has the key now. Mend: what the
// source of a copy had, and says nothing of, ended there (merge.hpp, ended_there).
TEST(MergeAdopted, AnEditThatTheSourceHadAndDoesNotNameEndedThere) {
  Table table = rowmesh::table(false);
  MergeContext context{.table = table, .prune_horizon = 10, .sender_horizon = 100};
  context.copy = true;
  context.adopted = {100, 9};
  context.had_seen = [](Version, Version) { return true; };
  context.at_sender = [](Version version) { return version.origin == 9; };
  Row here(columns, Value::of_text("here")), there(columns, Value::of_text("there"));
  auto shown_after = [&](Version edit) {
    RowState state;
    state.lives.emplace_back(Version{50, 1});
    state.lives[0].columns.set(1, edit);
    std::vector<IncomingLife> lives(1);
    lives[0].has_values = true;
    lives[0].values = there;
    std::vector<Loss> losses;
    std::optional<OwnedRow> desired;
    merge_lives(state, lives, here, context, losses, desired);
    return std::string((*desired)[1].text);
  };
  EXPECT_EQ(shown_after({200, 9}), "there");
  EXPECT_EQ(shown_after({200, 2}), "here") << "the source has not heard of it";
}

// (match.cpp, never_came)
TEST(MergeUnknown, WhatLivesThoughItsOriginHasTwoHistoriesNeverWasHere) {
  Table table = rowmesh::table(true);
  MergeContext context{.table = table, .prune_horizon = 100, .sender_horizon = 20};
  context.take_unknown = true;
  context.two_histories = [](Origin origin) { return origin == 2; };
  context.had_seen = [](Version, Version) { return true; };
  Row here(columns, Value::of_text("here")), there(columns, Value::of_text("there"));
  auto births_after = [&](bool settled_here, std::vector<Version> births) {
    RowState state;
    if (settled_here) state.lives.emplace_back();
    std::vector<IncomingLife> lives(births.size());
    for (std::size_t i = 0; i < births.size(); i++) {
      lives[i].birth = lives[i].columns.base = births[i];
      lives[i].has_values = true;
      lives[i].values = there;
    }
    std::vector<Loss> losses;
    std::optional<OwnedRow> desired;
    merge_lives(state, lives, settled_here ? RowView(here) : RowView(), context, losses, desired);
    std::vector<Version> after;
    for (const Life& life : state.lives) after.push_back(life.birth);
    return after;
  };
  Version older{50, 1}, younger{60, 2};
  EXPECT_EQ(births_after(true, {older, younger}), (std::vector<Version>{{}, younger})) << "two things, not one";
  EXPECT_EQ(births_after(true, {younger}), (std::vector<Version>{{}}));
  EXPECT_EQ(births_after(false, {younger}), (std::vector<Version>{younger}));
  EXPECT_EQ(births_after(false, {older}), (std::vector<Version>{})) << "its origin has one history, so it is gone";
}

}  // namespace
}  // namespace rowmesh
