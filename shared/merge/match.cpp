// The dearest-bought function of the model: five corrections came out of its simulation (docs/model.md, section 3).
#include <algorithm>

#include "shared/merge/merge.hpp"

namespace rowmesh {
namespace {

bool named(std::span<const IncomingLife> all, Version birth) {
  for (const IncomingLife& life : all)
    if (life.birth == birth) return true;
  return false;
}

bool follows_another(const IncomingLife& life, std::span<const IncomingLife> all) {
  return std::any_of(all.begin(), all.end(), [&](const IncomingLife& other) { return other.birth < life.birth; });
}

// Symptom: a key had two lives on all nodes but one. Mechanism: a new server with a slow clock had inserted under it
// before its copy; what came of that late was older than the row that had settled here, and was taken for that one, as
// the row itself was. Mend: where the document names one that is not late, that is the one that settled.
bool another_settled(const RowState& state, const IncomingLife& life, std::span<const IncomingLife> all,
                     const MergeContext& context) {
  return std::any_of(all.begin(), all.end(), [&](const IncomingLife& other) {
    return &other != &life && context.forgotten(other.birth) && !(other.birth < context.sender_truncated) &&
           !state.find(other.birth);
  });
}

// Of several old lives that a document names, the one that goes on is what settled here. That another one ended is
// settled as well, though the document tells of a later end of it, by somebody who had not heard of the first.
bool ended_before_another(const IncomingLife& life, std::span<const IncomingLife> all, const RowState& state,
                          const MergeContext& context) {
  auto settled_here = [&](const IncomingLife& other) {
    return &other != &life && !other.dead() && context.forgotten(other.birth) &&
           !(other.birth < context.sender_truncated) && (other.birth.settled() || !state.find(other.birth));
  };
  return life.dead() && std::any_of(all.begin(), all.end(), settled_here);
}

// Symptom: a key that had two lives on one node had one on another, for ever. Mechanism: this node came to forget the
// birth of the one that it had, at the begin of a copy; the copy named both, which the source never forgets as long as
// there are two, and either was taken for the row that is here. Mend: only one of them is, the oldest.
bool settled_is_an_older_one(const RowState& state, const IncomingLife& life, std::span<const IncomingLife> all,
                             const MergeContext& context) {
  return std::any_of(all.begin(), all.end(), [&](const IncomingLife& other) {
    bool gone = context.forgotten(other.death()) || context.ended_elsewhere(other.death());
    if (!(other.birth < life.birth) || (other.dead() && gone)) return false;
    return other.birth.settled() || !(state.find(other.birth) || other.birth < context.sender_truncated);
  });
}

// Is it the row whose birth has been forgotten here?
// Symptom: a key had two lives at the source of a copy, and one where the copy was taken. Mechanism: the row that had
// settled here had been deleted before those two were inserted, and still one of them was taken for it, so it counted
// as dead. Mend: what was born after that end is another row.
bool may_have_settled(const RowState& state, const IncomingLife& life, std::span<const IncomingLife> all,
                      const MergeContext& context) {
  const Life* settled = state.find(Version{});
  if (!settled || settled_is_an_older_one(state, life, all, context)) return false;
  return settled->death().settled() || life.birth < settled->death();
}

// Symptom: two rows under one number were one after a database and its copy had both run, and the values of the older
// were gone without a word. Mechanism: what the copy wrote under the same origin was below G, by what the original had
// announced; so the younger row, which had never come here, was taken for the one that had settled, as the older one
// was. Mend: whose horizon is not below ours would know that it is gone; so it never was here.
bool never_came(const RowState& state, const IncomingLife& life, std::span<const IncomingLife> all,
                const MergeContext& context) {
  if (!context.two_histories || !context.two_histories(life.birth.origin) || life.dead() || !life.has_values)
    return false;
  return !state.find(Version{}) || std::any_of(all.begin(), all.end(), [&](const IncomingLife& other) {
    bool lives = !other.dead() && other.has_values && !(other.birth < context.sender_truncated);
    return lives && other.birth < life.birth && (other.birth.settled() || !state.find(other.birth));
  });
}

// The sender knows the life only as "settled". Which of mine is it? One that the sender may have settled.
std::optional<Version> match_settled(const RowState& state, const IncomingLife& life, std::span<const IncomingLife> all,
                                     const MergeContext& context, bool* added) {
  if (!context.sender_truncated.settled() && context.forgotten(context.sender_truncated)) return std::nullopt;
  if (!context.copy && ended_before_another(life, all, state, context)) return std::nullopt;
  // Symptom: after a restore a row stood under two numbers. Mechanism: in the backup two rows had one number; the
  // source had given the younger another one since, and had forgotten that there had been two. Mend: what it has under
  // the number is the older one, which keeps it. (Elsewhere nobody forgets as long as somebody has both.)
  bool of_two = context.table.keeps_lives_apart() && !context.adopted.settled();
  auto settled_up_to = [&](Hlc horizon) {
    const Life* found = nullptr;
    for (const Life& mine : state.lives) {
      bool settled_there = mine.birth.settled() || mine.birth.hlc <= horizon;
      bool named_there = !mine.birth.settled() && named(all, mine.birth);
      bool buried_there = !mine.death().settled() && mine.death().hlc <= horizon;
      bool truncated_there = mine.birth < context.truncated && context.truncated.hlc <= horizon;
      if (settled_there && !named_there && !buried_there && !truncated_there &&
          !(of_two && found && !found->dead(context.truncated)))
        found = &mine;
    }
    return found;
  };
  const Life* found = settled_up_to(context.sender_horizon);
  // Symptom: a row had one more life on one node, and what was removed elsewhere stayed there. Mechanism: a new server
  // that had taken no copy yet had been told of the row as settled, and handed it on so; by its own horizon it could
  // not mean the row that is here, whose birth was still known. Mend: it says how far those had forgotten who told it.
  if (!found && context.sender_settled > context.sender_horizon) found = settled_up_to(context.sender_settled);
  if (found) return found->birth;
  bool comes = (context.copy || context.take_unknown) && !life.dead() && life.has_values;
  // That a row has ended is kept, also if it never was here: it may still come from somebody who has not heard of it,
  // to who takes up an older state, or copies. And whoever copies hands on what its source did, so what had been
  // removed there as well: a row stayed at a server that heard of it only by way of a new node, which had never had
  // that row. Symptom: a row stayed at a new server alone. Mechanism: one of its servers told it that the row was
  // deleted, before it had it; then it took a copy from another one, which had not heard of that yet. Mend: with any
  // document.
  if ((comes || life.dead()) && Version{} >= context.truncated) {
    *added = true;
    return Version{};
  }
  return std::nullopt;
}

}  // namespace

std::optional<Version> match_life(const RowState& state, const IncomingLife& life, std::span<const IncomingLife> all,
                                  const MergeContext& context, bool* added) {
  *added = false;
  if (life.dead() && context.forgotten(life.death())) return std::nullopt;
  if (life.birth.settled()) return match_settled(state, life, all, context, added);
  if (state.find(life.birth)) return life.birth;
  // A row of a copy that was taken before, when its source had settled it; a restart may undo that.
  bool old = life.birth.hlc <= context.prune_horizon;
  bool again = context.copy && old && !(life.birth < context.sender_truncated);
  if (again && may_have_settled(state, life, all, context)) return Version{};
  // Symptom: a row had two lives on a new server that had taken no copy. Mechanism: it had come as settled, and came by
  // its birth when the sender had been restarted; all but the new one had forgotten that birth. (Who comes back has not
  // confirmed what the source has forgotten: what is settled here is older than all that, and another row.)
  // Symptom: a row that had been deleted stayed at a new node, or it had two lives there. Mechanism: so had it come as
  // settled from one of its servers, which had forgotten more than the one that it copied from, or heard of, next.
  // Mend: it remembers how far those who told it so had forgotten.
  Hlc settled_up_to = std::max(context.sender_horizon, context.settled_elsewhere);
  bool elsewhere = !old && context.adopted.settled();
  if (elsewhere && life.dead() && context.ended_elsewhere(life.death()) && state.find(Version{})) return std::nullopt;
  bool settled_there = elsewhere && life.birth.hlc <= settled_up_to && !(life.birth < context.sender_truncated);
  if (settled_there && may_have_settled(state, life, all, context)) return Version{};
  // Symptom: who came back never got its copy, which "must come again with these rows whole", for ever. Mechanism: what
  // a truncate had killed at the source was taken for a life that goes on here, where that truncate had settled and was
  // forgotten, and it had come without values. Mend: it is gone.
  bool truncated = life.birth < context.sender_truncated && context.truncated < context.sender_truncated;
  if (truncated && context.copy && context.forgotten(context.sender_truncated)) return std::nullopt;
  if (!old || context.copy) {
    *added = true;
    return life.birth;
  }
  // Before the next line: an old life's delete must not hit the young one that took its place after a truncate.
  if (life.birth < context.sender_truncated) return std::nullopt;
  // One that comes late may have been carried here by hand meanwhile: with the table as it was dumped and read in.
  bool late = context.comes_late(life.birth);
  if (ended_before_another(life, all, state, context)) return std::nullopt;
  bool came = !never_came(state, life, all, context);
  bool another = late && (follows_another(life, all) || another_settled(state, life, all, context));
  if (state.find(Version{}) && came && !another) return Version{};
  bool never_was_here = life.dead() && state.lives.empty();
  *added = late || !came || never_was_here;
  if (*added) return life.birth;
  return std::nullopt;  // an old life that I know to be gone: never resurrect
}

}  // namespace rowmesh
