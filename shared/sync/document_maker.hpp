// Makes the documents that are shipped: what a server lacks, read in one snapshot of the store.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "shared/codec/document.hpp"
#include "shared/sync/core.hpp"
#include "shared/sync/wanted_rows.hpp"

namespace rowmesh {

struct DocumentOrder {
  Vector from;                     // per origin that is to be sent: what the server has
  bool begins = false;             // of us it has heard nothing: `from` is where we stood when it was added
  std::set<std::string> left_out;  // wire names of tables that it does not replicate
  bool partial = false;            // some of them on purpose
  bool compress = false;
  WantedRows whole;                      // of these rows big settled values as well
  std::map<std::string, Vector> behind;  // tables of which it lacks more: what it has of them, per origin

  auto operator<=>(const DocumentOrder& other) const = delete;
  bool same(const DocumentOrder& other) const {
    return from == other.from && begins == other.begins && left_out == other.left_out && partial == other.partial &&
           compress == other.compress && whole == other.whole && behind == other.behind;
  }
};

struct MadeDocument {
  std::shared_ptr<Body> body;
  Vector to;
  std::uint64_t rows = 0;
  bool compressed = false;
  std::set<std::string> withheld;  // tables of `left_out` that had changes
};

// In the read transaction whose cut was just made: "p to q" always ends at the snapshot that read the rows (model, H9).
MadeDocument make_document(Core& core, const DocumentOrder& order);

// One piece of a copy: rows of `table` after `after`, in key order. `*last`: key of the last row. In a read transaction
// after a cut.
MadeDocument make_copy_document(Core& core, const Table& table, KeyView after, const ServerOptions& options,
                                bool compress, Key* last);

DocumentHeader make_header(const Core& core);

}  // namespace rowmesh
