// The merge case by case: what it makes of a copy that is adopted, a truncate, what comes late or is not known here.
#include <gtest/gtest.h>

#include <algorithm>

#include "shared/merge/merge_test_table.hpp"

namespace rowmesh {
namespace {

// Of who comes back by a copy, and whose G is far behind that of the source.
MergeContext adopting(const Table& table) {
  MergeContext context{.table = table, .prune_horizon = 10, .sender_horizon = 100};
  context.copy = true;
  context.adopted = {100, 9};
  context.had_seen = [](Version, Version) { return true; };
  return context;
}

// What a document says of a row that has settled at its sender.
std::vector<IncomingLife> settled_with(const Row& values) {
  std::vector<IncomingLife> lives(1);
  lives[0].has_values = true;
  lives[0].values = values;
  return lives;
}

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
  MergeContext context = adopting(table);
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
  std::vector<IncomingLife> lives = settled_with(there);
  std::vector<Loss> losses;
  std::optional<OwnedRow> desired;
  merge_lives(state, lives, here, context, losses, desired);
  ASSERT_EQ(state.lives.size(), 2u);
  EXPECT_TRUE(state.lives[0].birth.settled()) << "the older one, as the source calls it";
  EXPECT_EQ(state.lives[1].birth, younger);
  EXPECT_TRUE(state.lives[1].dead({})) << "it is under another number there";
}

// Symptom: a row had two lives on all nodes but one, a copied database that had come back. Mechanism: its row had been
// removed elsewhere, and made anew by two; the older of these two was newer than what had been forgotten here, and was
// still taken for the row that is here, since the source called it old. Mend: who comes back has what is settled here
// from before all that, so it is none of these two.
TEST(MergeAdopted, WhatIsSettledHereIsNoneOfTheNewerOnesOfTheSource) {
  Table table = rowmesh::table(false);
  MergeContext context = adopting(table);
  std::vector<Loss> losses;
  std::optional<OwnedRow> desired;
  RowState state;
  state.lives.emplace_back().in_table = true;
  Row here(columns, Value::of_text("here")), there(columns, Value::of_text("there"));
  std::array<IncomingLife, 2> lives;
  for (std::size_t i = 0; i < lives.size(); i++) {
    lives[i].birth = lives[i].columns.base = {50 + i, 2 + i};
    lives[i].has_values = true;
    lives[i].values = there;
  }
  merge_lives(state, lives, here, context, losses, desired);
  for (const IncomingLife& life : lives) {
    const Life* known = state.find(life.birth);
    ASSERT_NE(known, nullptr) << life.birth.hlc;
    EXPECT_FALSE(known->dead({})) << life.birth.hlc;
  }
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

// (match.cpp, may_have_settled)
TEST(MergeAdopted, WhatWasInsertedAfterTheSettledRowWasDeletedIsAnotherRow) {
  Table table = rowmesh::table(false);
  for (bool adopts : {true, false}) {
    MergeContext context = adopting(table);
    context.copy = adopts;
    if (!adopts) context.adopted = {};
    RowState state;
    state.lives.emplace_back();
    state.lives[0].removed = {50, 2};
    Row there(columns, Value::of_text("there"));
    std::vector<IncomingLife> lives(2);
    for (std::size_t i = 0; i < 2; i++) {
      lives[i].birth = lives[i].columns.base = Version{60, static_cast<Origin>(i + 1)};
      lives[i].has_values = true;
      lives[i].values = there;
    }
    std::vector<Loss> losses;
    std::optional<OwnedRow> desired;
    merge_lives(state, lives, {}, context, losses, desired);
    auto alive = std::count_if(state.lives.begin(), state.lives.end(), [](const Life& life) { return !life.dead({}); });
    EXPECT_EQ(alive, 2) << "as at the source";
  }
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

// Symptom: a key had two lives on all nodes but one. Mechanism: a new server with a slow clock had inserted under it
// before its copy; what came of that late was older than the row that had settled here, so it was taken for that one,
// as the row itself was. Mend: where the document names one that is not late, that is the one that settled (match.cpp,
// another_settled).
TEST(MergeLate, WhatIsOlderThanTheRowThatSettledIsNotThatRow) {
  Table table = rowmesh::table(false);
  const std::map<Origin, Hlc> late = {{1, 10}};
  MergeContext context{.table = table, .prune_horizon = 100, .sender_horizon = 0};
  context.late = &late;
  context.had_seen = [](Version, Version) { return true; };
  RowState state = merge_into_settled(context, {50, 1}, {}, {70, 2}).state;
  ASSERT_EQ(state.lives.size(), 2u);
  EXPECT_TRUE(state.find(Version{50, 1}));
}

// (merge.cpp, Merger::know_the_dead_again)
TEST(MergeCopied, WhoseEndIsTheSameIsTheRowThatEndedHere) {
  for (bool integer_key : {true, false}) {
    Table table = rowmesh::table(integer_key);
    MergeContext context{.table = table, .prune_horizon = 100, .sender_horizon = 100};
    context.copy = true;
    context.had_seen = [](Version, Version) { return true; };
    RowState state;
    state.lives.emplace_back();
    state.lives[0].removed = {110, 2};
    std::vector<IncomingLife> lives(2);
    lives[0].has_values = true;
    lives[0].values = Row(columns, Value::of_text("older, and still there"));
    lives[1].birth = lives[1].columns.base = {90, 2};
    lives[1].removed = {110, 2};
    std::vector<Loss> losses;
    std::optional<OwnedRow> desired;
    merge_lives(state, lives, {}, context, losses, desired);
    EXPECT_TRUE(desired.has_value()) << "the row that nobody has deleted";
    ASSERT_EQ(state.lives.size(), 2u);
    EXPECT_TRUE(state.find({90, 2}));
  }
}

// Symptom: a row had one more life on one node, and stayed there when it was removed elsewhere. Mechanism: a new server
// that had taken no copy yet had been told of it as settled, and handed it on so with somebody's edit; by that one's
// own horizon it could not be the row that is here, whose birth a restart had brought back. Mend: the document says how
// far those had forgotten who told its sender (match.cpp, match_settled).
TEST(MergeSettled, WhatASenderWasToldToBeSettledIsTheRowThatIsHere) {
  Table table = rowmesh::table(true);
  MergeContext context{.table = table, .prune_horizon = 100, .sender_horizon = 0, .sender_settled = 60};
  context.take_unknown = true;
  context.had_seen = [](Version, Version) { return true; };
  Row here(columns, Value::of_text("here"));
  RowState state;
  state.lives.emplace_back(Version{50, 1});
  state.lives[0].in_table = true;
  std::vector<IncomingLife> lives = settled_with(here);
  std::vector<Loss> losses;
  std::optional<OwnedRow> desired;
  merge_lives(state, lives, here, context, losses, desired);
  EXPECT_EQ(state.lives.size(), 1u);
}

// (merge.cpp, Merger::merge)
TEST(MergeAdopted, ARowThatIsNewerHereIsCalledAsThere) {
  Table table = rowmesh::table(false);
  MergeContext context = adopting(table);
  Row here(columns, Value::of_text("here")), there(columns, Value::of_text("there"));
  RowState state;
  state.lives.emplace_back(Version{50, 1});
  state.lives[0].columns.base = {200, 2};
  state.lives[0].in_table = true;
  std::vector<IncomingLife> lives = settled_with(there);
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
  MergeContext context = adopting(table);
  context.at_sender = [](Version version) { return version.origin == 9; };
  Row here(columns, Value::of_text("here")), there(columns, Value::of_text("there"));
  auto shown_after = [&](Version edit) {
    RowState state;
    state.lives.emplace_back(Version{50, 1});
    state.lives[0].columns.changed = {{ColumnIndex{1}, edit}};
    std::vector<IncomingLife> lives = settled_with(there);
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

// (match.cpp, settled_elsewhere; with whole nodes: KeptSeeds.WhatAServerCalledSettledIsOneRowAtANewNode.)
TEST(MergeUnknown, WhatAServerCalledSettledMayComeByItsBirth) {
  Table table = rowmesh::table(false);
  MergeContext context{.table = table, .prune_horizon = 10, .sender_horizon = 10};
  context.copy = true;
  context.settled_elsewhere = 100;
  context.had_seen = [](Version, Version) { return true; };
  Row there(columns, Value::of_text("there"));
  // Of a key that had been deleted and inserted anew before all of that was forgotten elsewhere.
  auto living_after = [&](Version removed_here) {
    RowState state;
    state.lives.emplace_back();
    state.lives[0].removed = removed_here;
    std::vector<IncomingLife> lives(2);
    lives[0].birth = lives[0].columns.base = {50, 1};
    lives[0].removed = lives[1].birth = lives[1].columns.base = {60, 1};
    lives[1].has_values = true;
    lives[1].values = there;
    std::vector<Loss> losses;
    std::optional<OwnedRow> desired;
    merge_lives(state, lives, removed_here.settled() ? RowView(there) : RowView(), context, losses, desired);
    std::vector<Version> living;
    for (const Life& life : state.lives)
      if (!life.dead({})) living.push_back(life.birth);
    return living;
  };
  EXPECT_EQ(living_after({}), std::vector<Version>{Version{}}) << "one row";
  EXPECT_EQ(living_after({120, 1}), std::vector<Version>{}) << "it was deleted";
  EXPECT_EQ(living_after({55, 1}), (std::vector<Version>{{60, 1}})) << "another one was, before this one began";
}

}  // namespace
}  // namespace rowmesh
