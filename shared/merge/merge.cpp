#include "shared/merge/merge.hpp"

#include <algorithm>

namespace rowmesh {

Row life_values(const Table& table, const Life& life, RowView table_row) {
  Row row(table_row.begin(), table_row.end());
  row.resize(table.columns.size(), Value::of_omitted());
  if (life.side)
    for (std::size_t column = 0; column < row.size() && column < life.side->values.size(); column++)
      if (life.side->columns.has(static_cast<ColumnIndex>(column))) row[column] = life.side->values[column];
  return row;
}

std::optional<Row> desired_row(const Table& table, const RowState& state, Version truncated, RowView table_row) {
  const Life* shown = shown_life(state, table.keeps_lives_apart(), truncated);
  if (!shown) return std::nullopt;
  auto values_of = [&](const Life& life) { return life_values(table, life, life.in_table ? table_row : RowView()); };
  Row row = values_of(*shown);
  if (table.keeps_lives_apart()) return row;
  for (const Life& life : state.lives) {  // natural key: each column by the highest version over the living lives
    if (&life == shown || life.dead(truncated)) continue;
    Row values = values_of(life);
    for (std::size_t column = 0; column < row.size(); column++) {
      auto index = static_cast<ColumnIndex>(column);
      bool newest = true;
      for (const Life& other : state.lives)
        if (&other != &life && !other.dead(truncated) && other.columns.of(index) > life.columns.of(index))
          newest = false;
      if (newest) row[column] = values[column];
    }
  }
  return row;
}

namespace {

struct Working {
  Life life;
  Row values;
  std::vector<ColumnType> types;
  bool was_alive = false;
  bool changed = false;
  bool named = false;  // by the document
};

class Merger {
 public:
  Merger(RowState& state, RowView table_row, const MergeContext& context, std::vector<Loss>& losses)
      : before_(state), state_(state), context_(context), losses_(losses) {
    for (const Life& life : before_.lives) {
      Working working;
      working.values = life_values(context.table, life, life.in_table ? table_row : RowView());
      for (const Column& column : context.table.columns) working.types.push_back(column.type);
      if (life.side && life.side->types.size() == working.types.size())
        for (std::size_t i = 0; i < working.types.size(); i++)
          if (life.side->columns.has(static_cast<ColumnIndex>(i))) working.types[i] = life.side->types[i];
      working.was_alive = !life.dead(context.truncated);
      working.changed =
          working.was_alive && life.in_table && !life.side;  // if others live now, they came by a local change
      working.life = life;
      lives_.push_back(std::move(working));
    }
    // A local change that was made while its row's death arrived: the row still stands in the table.
    for (const Working& working : lives_) {
      if (working.was_alive || !working.life.in_table) continue;
      // Symptom: a row of a transaction that had been prepared before a truncate was heard of, and was committed after
      // it, was in no list. Mechanism: it was shipped as dead before its turn to be taken out of the table, and when
      // that came, the one who had truncated had answered that he has it. Mend: he had not seen it when he truncated,
      // and has never got its values.
      Version killer = killer_of(working.life);
      list_dead(working, killer, nullptr, killer == context.truncated);
    }
  }

  bool merge(std::span<IncomingLife> incoming) {
    bool changed = false;
    know_the_dead_again(incoming);
    Version settled_here;
    for (IncomingLife& life : incoming) {
      bool added = false;
      auto birth = match_life(state_, life, incoming, context_, &added);
      if (!birth) {
        list_void(life);
        continue;
      }
      if (added)
        add(*birth, life), changed = true;
      else
        changed |= merge_one(*find(*birth), life);
      Working& mine = *find(*birth);
      mine.named = true;
      if (birth->settled() && !life.dead()) settled_here = life.birth;
      // As the source calls it: somebody may still know by its birth what lives under the key now, and not this one.
      // Symptom: an edit of a node that came back was shown by some nodes only. Mechanism: nothing else of the row was
      // the source's, so it counted as unchanged, and the life kept its birth, by which others knew one that had ended.
      // Mend: what it is called is a change.
      if (context_.gives_way(*birth) && life.birth.settled() && !mine.life.birth.settled()) {
        mine.life.birth = {};
        changed = true;
      }
      // Later lives of the document are matched against what is known by now, as the model does.
      if (Life* known = state_.find(*birth)) *known = mine.life;
    }
    changed |= know_again(settled_here);
    return bury_unnamed() || changed;
  }

  // Symptom: a row was missing on a new server that had deleted another one of the same key. Mechanism: its own had
  // settled there, so after a crash it knew that one's end without its birth; when both came with its copy, the older
  // one was taken for the one that had ended. Mend: whose end is the same version is the same row.
  void know_the_dead_again(std::span<const IncomingLife> incoming) {
    Life* settled = state_.find(Version{});
    if (!settled || settled->removed.settled()) return;
    auto lives_on = [](const IncomingLife& life) { return life.birth.settled() && !life.dead(); };
    auto same = std::find_if(incoming.begin(), incoming.end(), [&](const IncomingLife& life) {
      return !life.birth.settled() && life.removed == settled->removed;
    });
    if (std::none_of(incoming.begin(), incoming.end(), lives_on) || same == incoming.end() || find(same->birth)) return;
    find(Version{})->life.birth = same->birth;
    settled->birth = same->birth;
    state_.order();
  }

  // Symptom: two rows under one number stayed as they were, and the nodes showed different ones. Mechanism: the one had
  // settled on a node when an older one came late, of a new server with a slow clock; without its birth it counted as
  // the older there, so no writer took his for the younger one, which gets another number. Mend: who names it says when
  // it was born.
  bool know_again(Version birth) {
    Working* settled = birth.settled() || !context_.table.keeps_lives_apart() ? nullptr : find(Version{});
    if (!settled || find(birth)) return false;
    bool is_younger = std::any_of(lives_.begin(), lives_.end(), [&](const Working& other) {
      return &other != settled && !other.life.dead(context_.truncated) && other.life.birth < birth;
    });
    if (is_younger) settled->life.birth = birth;
    return is_younger;
  }

  // Puts the result into the state; returns the row that the table should show.
  std::optional<OwnedRow> finish(std::vector<ColumnType>* types) {
    std::vector<Working*> alive;
    std::sort(lives_.begin(), lives_.end(), [](auto& left, auto& right) { return left.life.birth < right.life.birth; });
    for (Working& working : lives_)
      if (!working.life.dead(context_.truncated)) alive.push_back(&working);
    if (alive.size() > 1) list_hidden_values(alive);
    Working* shown = alive.empty() ? nullptr : context_.table.keeps_lives_apart() ? alive.front() : alive.back();
    RowState after;
    for (Working& working : lives_) {
      bool plain = &working == shown && (context_.table.keeps_lives_apart() || alive.size() == 1);
      bool dead = working.life.dead(context_.truncated);
      if (plain || dead) {
        working.life.side = nullptr;
      } else {
        auto side = std::make_unique<Side>();
        side->kind = context_.table.keeps_lives_apart() ? SideKind::held : SideKind::merged;
        side->columns = ColumnSet::all();
        side->values = OwnedRow(working.values);
        if (!own_types(working.types)) side->types = working.types;
        side->since_ms = hlc_to_ms(working.life.newest().hlc);
        if (side->kind == SideKind::held)
          side->reason = "another row got this number first on another server; this one waits for a number of its own";
        working.life.side = std::move(side);
      }
    }
    std::optional<OwnedRow> desired;
    if (shown) desired = OwnedRow(shown_values(*shown, alive));
    if (shown && types) {
      *types = shown->types;
      for (std::size_t i = 0; i < types->size(); i++)
        (*types)[i] = newest_of(alive, static_cast<ColumnIndex>(i)).types[i];
      if (own_types(*types)) types->clear();
    }
    for (Working& working : lives_) after.lives.push_back(std::move(working.life));
    state_ = std::move(after);
    return desired;
  }

 private:
  bool own_types(const std::vector<ColumnType>& types) const {
    for (std::size_t i = 0; i < types.size(); i++)
      if (types[i] != context_.table.columns[i].type) return false;
    return true;
  }

  Version killer_of(const Life& life) const {
    return std::max(life.death(), life.birth < context_.truncated ? context_.truncated : Version{});
  }

  Working* find(Version birth) {
    for (Working& working : lives_)
      if (working.life.birth == birth) return &working;
    return nullptr;
  }

  void add(Version birth, IncomingLife& incoming) {
    Working working;
    working.life.birth = birth;
    working.life.applied_at = Life::being_applied;
    working.life.in_table = false;
    working.life.removed = incoming.removed;
    working.life.columns = incoming.columns;
    if (incoming.moved) working.life.moved = std::make_unique<Move>(*incoming.moved);
    working.values.assign(incoming.values.begin(), incoming.values.end());
    working.values.resize(context_.table.columns.size(), Value::of_omitted());
    for (std::size_t i = 0; i < context_.table.columns.size(); i++) working.types.push_back(incoming_type(i));
    working.changed = true;
    if (!incoming.dead() && birth < context_.truncated) list_dead(working, context_.truncated, nullptr);
    state_.add(Life(working.life));
    lives_.push_back(std::move(working));
  }

  ColumnType incoming_type(std::size_t column) const {
    return column < context_.types.size() ? context_.types[column] : context_.table.columns[column].type;
  }
  std::vector<ColumnType> incoming_types() const { return {context_.types.begin(), context_.types.end()}; }

  static bool has_value(const IncomingLife& incoming, std::size_t column) {
    return incoming.has_values && column < incoming.values.size() && incoming.values[column].kind != ValueKind::omitted;
  }

  void take(Working& mine, const IncomingLife& incoming, std::size_t column) {
    auto index = static_cast<ColumnIndex>(column);
    mine.life.columns.set(index, incoming.columns.of(index));
    if (!has_value(incoming, column)) return;
    mine.values[column] = incoming.values[column];
    mine.types[column] = incoming_type(column);
  }

  bool merge_one(Working& mine, IncomingLife& incoming) {
    Life& life = mine.life;
    bool changed = false;
    ColumnVersions before = life.columns;
    // Only one node moves a life; should two take themselves for its heir, everybody follows the same one.
    if (incoming.moved && (!life.moved || incoming.moved->version > life.moved->version))
      life.moved = std::make_unique<Move>(*incoming.moved), changed = true;
    if (incoming.removed > life.removed) life.removed = incoming.removed, changed = true;
    if (context_.gives_way(life.birth) && incoming.dead()) end_as_there(life, incoming.removed);
    // Symptom: a value was gone without a word where a new server had been written to before its copy. Mechanism: what
    // it had inserted was older than what everybody had forgotten, so it was taken for the row that had settled under
    // that key, and what has settled counts as seen. Mend: whoever inserts a key has no row there.
    bool stranger = life.birth.settled() && context_.comes_late(incoming.birth);
    ColumnSet lost_mine, lost_theirs;
    Version newest_mine, newest_theirs;
    Row before_values = mine.values;
    std::vector<ColumnType> before_types = mine.types;
    for (std::size_t i = 0; i < context_.table.columns.size(); i++) {
      auto column = static_cast<ColumnIndex>(i);
      Version theirs = incoming.columns.of(column), ours = life.columns.of(column);
      if (theirs == ours) {
        // The table lost the row without telling (dropped and made anew, say), or it is old.
        bool lacks = mine.values[i].kind == ValueKind::omitted;
        bool old =
            context_.gives_way(ours) && has_value(incoming, i) && !same_value(mine.values[i], incoming.values[i]);
        if ((lacks && has_value(incoming, i)) || old) take(mine, incoming, i), changed = true;
        continue;
      }
      if (context_.gives_way(ours) || (theirs < ours && context_.ended_there(ours))) {
        take(mine, incoming, i);
        changed = true;
        continue;
      }
      newest_mine = std::max(newest_mine, ours);
      newest_theirs = std::max(newest_theirs, theirs);
      if (theirs > ours) {
        bool another =
            stranger && ours.settled() && has_value(incoming, i) && !same_value(mine.values[i], incoming.values[i]);
        if (another || !context_.had_seen(theirs, ours)) lost_mine.add(column);
        take(mine, incoming, i);
        changed = true;
      } else {
        // Perhaps whoever wrote ours here looked at an older value.
        bool looked_at_older =
            context_.gives_way(theirs) && has_value(incoming, i) && !same_value(mine.values[i], incoming.values[i]);
        if (looked_at_older || !context_.had_seen(ours, theirs)) lost_theirs.add(column);
      }
    }
    if (!context_.adopted.settled() && !mine.was_alive && !incoming.dead()) list_unseen_row(incoming, killer_of(life));
    mine.changed |= changed;
    if (life.dead(context_.truncated)) {
      Version killer = killer_of(life);
      if (changed) list_dead(mine, killer, mine.was_alive ? nullptr : &before);
      // What was here was listed when the life died, unless it dies only now.
      lost_mine = mine.was_alive ? unseen_by(killer, lost_mine, before) : ColumnSet();
      if (stranger && mine.was_alive) lost_mine = ColumnSet::all();
      lost_theirs = context_.adopted.settled() ? unseen_by(killer, lost_theirs, incoming.columns) : ColumnSet();
    }
    if (!lost_mine.empty())
      list("update_origin_differs", "apply_remote", lost_mine, {life.birth, before_values, std::move(before_types)},
           mine.values, newest_mine, newest_theirs);
    if (!lost_theirs.empty() && incoming.has_values)
      list("update_origin_differs", "keep_local", lost_theirs, {life.birth, incoming.values, incoming_types()},
           mine.values, newest_theirs, newest_mine);
    return changed;
  }

  // It had ended there before it was removed here. A newer delete would hit what has taken its place where all of it is
  // forgotten.
  static void end_as_there(Life& life, Version removed) {
    if (removed.settled() || life.removed <= removed) return;
    life.removed = removed;
  }

  ColumnSet unseen_by(Version killer, const ColumnSet& columns, const ColumnVersions& versions) const {
    ColumnSet unseen;
    for (std::size_t i = 0; i < context_.table.columns.size(); i++) {
      auto column = static_cast<ColumnIndex>(i);
      if (columns.has(column) && !context_.had_seen(killer, versions.of(column))) unseen.add(column);
    }
    return unseen;
  }

  // Lives that the sender would still know if they had not ended there.
  bool bury_unnamed() {
    bool some = false;
    for (Working& working : lives_) {
      if (working.named || !context_.gives_way(working.life.birth)) continue;
      if (!working.was_alive) {
        end_as_there(working.life, context_.adopted);
        continue;
      }
      working.life.removed = context_.adopted;
      working.changed = some = true;
      list_dead(working, context_.adopted, nullptr);
    }
    return some;
  }

  // Columns of a dead life that its killer had not seen. `known`: versions that were listed when the life died.
  // `all_unseen`: whatever he says by now.
  void list_dead(const Working& working, Version killer, const ColumnVersions* known, bool all_unseen = false) {
    ColumnSet lost;
    Version newest;
    for (std::size_t i = 0; i < context_.table.columns.size(); i++) {
      auto column = static_cast<ColumnIndex>(i);
      Version version = working.life.columns.of(column);
      bool seen = !all_unseen && context_.had_seen(killer, version);
      if (seen || (known && known->of(column) == version)) continue;
      lost.add(column);
      newest = std::max(newest, version);
    }
    if (!lost.empty())
      list("update_deleted", "keep_delete", lost, {working.life.birth, working.values, working.types}, {}, newest,
           killer);
  }

  // Who deleted it here did so in a state from before what the sender has forgotten.
  void list_unseen_row(const IncomingLife& incoming, Version killer) {
    if (incoming.has_values)
      list("update_deleted", "keep_delete", ColumnSet::all(), {incoming.birth, incoming.values, incoming_types()}, {},
           incoming.columns.newest(), killer);
  }

  void list_void(const IncomingLife& incoming) {
    if (incoming.dead() || !incoming.has_values) return;
    ColumnSet lost;
    Version newest;
    // Who truncated the table while it was copied had not seen the rows that were still to come.
    bool unseen =
        context_.first_copy && incoming.birth < context_.truncated && !(incoming.birth < context_.sender_truncated);
    for (std::size_t i = 0; i < context_.table.columns.size(); i++) {
      Version version = incoming.columns.of(static_cast<ColumnIndex>(i));
      bool known = context_.forgotten(version);
      if (known && context_.adopted.settled() && !unseen) continue;
      lost.add(static_cast<ColumnIndex>(i));
      newest = std::max(newest, version);
    }
    if (!lost.empty())
      list("update_missing", "skip", lost, {incoming.birth, incoming.values, incoming_types()}, {}, newest, {});
  }

  Row shown_values(const Working& shown, const std::vector<Working*>& alive) const {
    Row row = shown.values;
    if (context_.table.keeps_lives_apart()) return row;
    for (std::size_t i = 0; i < row.size(); i++) row[i] = newest_of(alive, static_cast<ColumnIndex>(i)).values[i];
    return row;
  }

  // The life whose value of the column shows: integer keys show one life as a whole.
  const Working& newest_of(const std::vector<Working*>& alive, ColumnIndex column) const {
    if (context_.table.keeps_lives_apart()) return *alive.front();
    const Working* newest = alive.back();
    for (const Working* other : alive)
      if (other->life.columns.of(column) > newest->life.columns.of(column)) newest = other;
    return *newest;
  }

  // Several living lives under one key: list the values that do not show.
  void list_hidden_values(const std::vector<Working*>& alive) {
    Row shown = shown_values(context_.table.keeps_lives_apart() ? *alive.front() : *alive.back(), alive);
    const Working& winner = context_.table.keeps_lives_apart() ? *alive.front() : *alive.back();
    for (const Working* working : alive) {
      ColumnSet lost;
      for (std::size_t i = 0; i < shown.size(); i++) {
        const Working& over = newest_of(alive, static_cast<ColumnIndex>(i));
        if (&over == working || (!working->changed && !over.changed)) continue;
        if (!same_value(shown[i], working->values[i]) && working->values[i].kind != ValueKind::omitted)
          lost.add(static_cast<ColumnIndex>(i));
      }
      if (lost.empty()) continue;  // of the youngest life as well: an older one's column may have the higher version
      list("insert_exists", context_.table.keeps_lives_apart() ? "held" : "merged", lost,
           {working->life.birth, working->values, working->types}, shown, working->life.newest(), winner.life.newest());
    }
  }

  struct Loser {
    Version birth;
    RowView values;
    std::vector<ColumnType> types;
  };
  void list(const char* type, const char* resolution, const ColumnSet& columns, Loser loser, RowView winner,
            Version loser_version, Version winner_version) {
    Loss loss;
    loss.type = type;
    loss.resolution = resolution;
    loss.columns = columns;
    loss.loser = OwnedRow(loser.values);
    loss.birth = loser.birth;
    loss.types = std::move(loser.types);
    loss.winner = OwnedRow(winner);
    loss.loser_version = loser_version;
    loss.winner_version = winner_version;
    losses_.push_back(std::move(loss));
  }

  const RowState before_;  // the values in `lives_` are views of its side values, or of the document
  RowState& state_;
  const MergeContext& context_;
  std::vector<Loss>& losses_;
  std::vector<Working> lives_;
};

}  // namespace

bool merge_lives(RowState& state, std::span<IncomingLife> incoming, RowView table_row, const MergeContext& context,
                 std::vector<Loss>& losses, std::optional<OwnedRow>& desired, std::vector<ColumnType>* types) {
  Merger merger(state, table_row, context, losses);
  bool changed = merger.merge(incoming);
  desired = merger.finish(types);
  return changed;
}

}  // namespace rowmesh
