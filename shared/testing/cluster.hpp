// N nodes with their stores, clocks and network in one process, under one seed: writes at random while everything
// breaks, then heals and checks that all are equal and nothing is lost.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "shared/sync/node.hpp"
#include "shared/testing/ledger.hpp"
#include "shared/testing/memory_store.hpp"
#include "shared/testing/simulated_network.hpp"

namespace rowmesh::testing {

enum class Topology : std::uint8_t { mesh, star, chain, ring };
const char* to_string(Topology topology);

// Virtual time from the end of the faults: until all nodes are equal, and until all that is settled is forgotten.
// Stated in docs/guarantees.md.
struct Liveness {
  std::uint64_t equal_ms = 0, forgotten_ms = 0;
};

struct Plan {
  std::uint64_t seed = 1;
  std::size_t nodes = 3;
  Topology topology = Topology::mesh;
  unsigned transactions = 40;     // of the whole cluster
  std::uint64_t rest_ms = 20000;  // for which whatever still travels has time to show that it goes in circles
  // What may happen. Off: to narrow a failure down.
  bool integer_keys = true, natural_keys = true, uniques = true, truncates = true, prepared = true;
  bool crashes = true, partitions = true, weather = true, races = true, skew = true, refusals = true, pull = true;
  bool mixed = true;     // some stores behave as SQLite
  bool schemas = false;  // a column is renamed on one node, for a while
  bool proxies = false;  // answers that are not the server's, bodies that end too early
  bool full_disks = false;
  bool two_uniques = false;   // the table with a UNIQUE column has two of them
  bool backups = false;       // an older state of a node is put back
  bool links = false;         // come and go
  bool joins = false;         // a node is built, added and copies
  bool copies = false;        // servers copy from each other in the middle, and who joins writes for a while before
  bool first_copies = false;  // who is new begins with a copy by itself
  bool leaves = false;        // a node is gone for good
  bool big = false;           // some values are so big that they are left out where they have not changed
  bool hold = false;          // of two rows under one number the younger waits for a person
  bool merge = false;         // two rows under one number are one
  bool rows = false;          // of two edits of a row the later one counts as a whole
  bool discards = false;      // people discard what is in quarantine
  bool late = false;          // some add their servers only when the others have written for a while
  bool clones = false;        // the store of a node is copied, and both run
  bool clocks = false;        // a clock is so wrong that its node is not listened to
  bool filters = false;       // the last node of a chain or star gets one table only
  bool marked = false;        // rows with numbers have a UNIQUE column, too
  bool numbered = false;      // what refers to rows with numbers has numbers as well, or is in the same table

  static Plan random(std::uint64_t seed);  // nodes, topology and size by the seed
  static Plan small(std::uint64_t seed);   // 2 or 3 nodes, some steps: thousands of runs a minute
  Plan without(std::initializer_list<bool Plan::*> features) const;
  // The node that gets some tables only; none: the number of nodes.
  static constexpr std::size_t nobody = ~std::size_t{0};
  std::size_t leaf() const;
  Liveness liveness() const;
  bool topology_changes() const { return links || joins || leaves; }
  std::string text() const;
};

// By the name that rowmesh_sim knows it by.
struct Feature {
  const char* name;
  bool Plan::*on;
};
const std::vector<Feature>& features();

struct Outcome {
  std::string failure;      // empty: all is well
  std::uint64_t trace = 0;  // hash over everything that happened
  std::uint64_t commits = 0, requests = 0, crashes = 0, conflicts = 0, virtual_ms = 0;
  // From the end of the faults until all nodes were equal, and until all that is settled was forgotten.
  std::uint64_t equal_ms = 0, forgotten_ms = 0;
  std::vector<std::string> story;  // if asked for
};

Outcome run_plan(const Plan& plan, bool keep_story = false);

}  // namespace rowmesh::testing
