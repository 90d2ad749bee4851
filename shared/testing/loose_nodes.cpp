#include "shared/testing/loose_nodes.hpp"

#include <algorithm>

namespace rowmesh::testing {

LooseNodes::LooseNodes(std::size_t count, const std::function<void(MemoryStore&)>& create, bool forget,
                       std::uint64_t seed, Flavour flavour)
    : forget_(forget) {
  for (std::size_t i = 0; i < count; i++) {
    sites_.push_back(std::make_unique<Site>(now_ms_, seed * 1000 + i + 1));
    Site& site = *sites_.back();
    std::string uuid = "00000000-0000-4000-8000-" + to_hex(i).substr(4);
    site.store = std::make_unique<MemoryStore>(Identity{uuid, 100 + i, "node" + std::to_string(i)}, site.wall, flavour);
    create(*site.store);
  }
  for (std::size_t i = 0; i < count; i++) start(i);
  for (std::size_t i = 0; i < count; i++)
    for (std::size_t other = 0; other < count; other++) meet(i, other);
}

LooseNodes::~LooseNodes() = default;

void LooseNodes::start(std::size_t i) {
  Site& site = *sites_[i];
  site.core = std::make_unique<Core>(
      NodeServices{*site.store, site.wall, site.random, site.client, [](char, const std::string&) {}, [] {}});
  site.core->load_config();
  site.core->load_history();
  site.core->load_config();
  site.core->hold_prune = !forget_;
}

void LooseNodes::restart(std::size_t i) {
  auto members = core(i).state.members;
  sites_[i]->core.reset();
  store(i).crash();
  start(i);
  for (auto& [origin, member] : members) core(i).state.members.try_emplace(origin, member);
}

void LooseNodes::link(std::size_t left, std::size_t right) {
  for (auto [at, to] : {std::pair{left, right}, std::pair{right, left}})
    core(at).state.servers[static_cast<std::int64_t>(to)] = {store(to).identity().node, origin(to), {}, {}};
}

void LooseNodes::meet(std::size_t i, std::size_t other) {
  core(i).state.members[origin(other)] = {store(other).identity().node, "", false};
}

void LooseNodes::take_out(std::size_t i, std::size_t member) { core(i).state.members[origin(member)].left = true; }

void LooseNodes::look_for_the_gone(std::size_t i) {
  for (auto& [id, table] : core(i).tables())
    core(i).window.for_each(id, [&](Entry& entry) { core(i).look_once_more(entry, entry.state.newest().hlc); });
  settle(i);
}

void LooseNodes::write(std::size_t i, const std::function<void(MemoryStore&)>& change) {
  store(i).begin_local();
  change(store(i));
  store(i).commit_local();
}

void LooseNodes::insert(std::size_t i, const std::string& table, const Row& row) {
  write(i, [&](MemoryStore& store) { store.insert(table, row); });
}

void LooseNodes::update(std::size_t i, const std::string& table, const Row& row) {
  Key key = key_of(store(i).table(table), row);
  write(i, [&](MemoryStore& store) { store.update(table, decode_key(key), row); });
}

void LooseNodes::remove(std::size_t i, const std::string& table, const Row& key) {
  write(i, [&](MemoryStore& store) { store.remove(table, key); });
}

void LooseNodes::settle(std::size_t i) {
  Core& here = core(i);
  here.cut_alone(true);
  EntrySet entries = here.unreconciled;
  if (entries.empty() && here.recheck_hidden.empty()) return;
  Applier(here).reconcile(entries);
  here.cut_alone();
}

LooseNodes::Document LooseNodes::make(std::size_t from, std::size_t to) { return make_since(from, applied(to)); }

LooseNodes::Document LooseNodes::make_since(std::size_t from, const Vector& since, Origin only,
                                            const WantedRows& whole) {
  settle(from);
  return make_unsettled(from, since, only, whole);
}

LooseNodes::Document LooseNodes::make_unsettled(std::size_t from, const Vector& since, Origin only,
                                                const WantedRows& whole) {
  Core& here = core(from);
  DocumentOrder order;
  order.whole = whole;
  for (auto& [origin, position] : here.state.applied) {
    if (only != 0 && origin != only) continue;
    auto at = since.find(origin);
    order.from[origin] = at == since.end() ? Position{} : at->second;
  }
  here.store.begin(TransactionKind::read);
  here.cut(true);
  Document document{make_document(here, order).body, from};
  here.store.commit();
  return document;
}

LooseNodes::Document LooseNodes::numbers(const Document& document, std::int64_t first, std::int64_t last) {
  DocumentReader reader(document.body, false);
  DocumentWriter writer(reader.header(), false);
  std::map<std::uint32_t, std::uint32_t> tables;
  while (const WireRow* row = reader.next()) {
    if (row->key[0].kind != ValueKind::integer || row->key[0].integer < first || row->key[0].integer > last) continue;
    auto [table, added] = tables.try_emplace(row->table);
    if (added)
      table->second = writer.add_table(*core(document.from).table_by_wire_name(reader.tables()[row->table].name));
    std::vector<Life> lives(row->count);
    std::vector<const Life*> all;
    std::vector<RowView> rows;
    for (std::size_t i = 0; i < row->count; i++) {
      const WireLife& from = row->lives[i];
      auto versions = [](const std::vector<Version>& all, ColumnVersions& to) {
        for (std::size_t column = 0; column < all.size(); column++)
          to.set(static_cast<ColumnIndex>(column), all[column]);
      };
      lives[i].birth = from.birth, lives[i].removed = from.removed, lives[i].columns.base = from.base;
      versions(from.versions, lives[i].columns);
      if (from.has_move) {
        lives[i].moved =
            std::make_unique<Move>(Move{from.move_version, encode_key(from.move_key), from.move_birth, {}});
        versions(from.move_seen, lives[i].moved->seen);
      }
      all.push_back(&lives[i]);
      rows.push_back(from.has_values ? RowView(from.values) : RowView());
    }
    writer.add_lives(table->second, encode_key(row->key), all, rows);
  }
  return {writer.finish(), document.from};
}

Taken LooseNodes::deliver(const Document& document, std::size_t to, WantedRows* wanted) {
  Applier applier(core(to), document.body, false);
  try {
    // Nothing was copied before, so whatever is new begins with its first position.
    auto begins = [&](Origin origin) {
      auto from = applier.header().from.find(origin);
      return from == applier.header().from.end() || from->second.number == 0;
    };
    if (!applier.check(begins)) return Taken::nothing_new;
    applier.run({});
  } catch (const Refusal& refusal) {
    if (wanted) *wanted = refusal.wanted;
    return refusal.error == "gap"          ? Taken::gap
           : refusal.error == "stale"      ? Taken::stale
           : refusal.error == "history"    ? Taken::history
           : refusal.error == "clock"      ? Taken::clock
           : refusal.error == "incomplete" ? Taken::incomplete
                                           : Taken::other;
  }
  return Taken::applied;
}

void LooseNodes::ship(std::size_t from, std::size_t to) {
  WantedRows wanted;
  Taken taken = deliver(make(from, to), to, &wanted);
  if (taken == Taken::stale || taken == Taken::incomplete) deliver(make_since(from, applied(to), 0, wanted), to);
}

void LooseNodes::exchange(const std::vector<std::pair<std::size_t, std::size_t>>& edges, std::size_t rounds) {
  for (std::size_t round = 0; round < rounds; round++) {
    pass(10);
    for (auto [from, to] : edges) ship(from, to), ship(to, from);
    for (std::size_t i = 0; i < size(); i++) forget(i);
  }
}

void LooseNodes::exchange_all(std::size_t rounds) {
  std::vector<std::pair<std::size_t, std::size_t>> edges;
  for (std::size_t i = 0; i < size(); i++)
    for (std::size_t j = i + 1; j < size(); j++) edges.emplace_back(i, j);
  exchange(edges, rounds);
}

std::string LooseNodes::rows(std::size_t i, const std::string& table) {
  std::string text;
  for (auto& [key, row] : store(i).rows(table)) {
    std::string name = key_to_text(key);
    std::erase(name, '\'');
    text += (text.empty() ? "" : " ") + name + "=";
    bool first = true;
    for (std::size_t column = 0; column < row.values.size(); column++) {
      const Table& described = store(i).table(table);
      if (std::find(described.key.begin(), described.key.end(), column) != described.key.end()) continue;
      const Value& value = row.values[column];
      text += (first ? "" : ",") + (value.is_null()                    ? std::string("-")
                                    : value.kind == ValueKind::integer ? std::to_string(value.integer)
                                                                       : std::string(value.text));
      first = false;
    }
  }
  return text;
}

std::string LooseNodes::side(std::size_t i) const {
  std::string text;
  for (const SideRow& row : sites_[i]->store->load_side())
    if (row.kind != "contested")  // whose claim has settled before is none
      text += row.kind + " " + std::to_string(row.table) + " " + row.key_text + " ";
  return text;
}

}  // namespace rowmesh::testing
