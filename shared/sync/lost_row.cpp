#include "shared/sync/lost_row.hpp"

#include "shared/codec/packed.hpp"
#include "shared/model/error.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t form = 1;

// What is not lost.
struct Kept {
  std::string_view resolution;
  const char* why;
};
constexpr Kept kept[] = {
    {"held", "this row is not lost: it waits for a number of its own"},
    {"hidden", "this row is not lost: it comes back by itself when the value is free"},
    {"renumbered", "this row is not lost: it has another number now; see the image that was kept"},
    {"none", "verify only compares: nothing was overwritten; repair makes both sides equal"},
};

const Kept* kept_by(std::string_view resolution) {
  for (const Kept& one : kept)
    if (one.resolution == resolution) return &one;
  return nullptr;
}

}  // namespace

std::string pack_lost(TableId table, KeyView key, const Loss& loss) {
  if (loss.loser.empty() || kept_by(loss.resolution)) return "";
  Life life(loss.birth);
  life.side = std::make_unique<Side>();
  life.side->columns = loss.columns;
  life.side->values = loss.loser;
  life.side->types = loss.types;
  PackedWriter out;
  out.number(form);
  out.number(table);
  out.text(key);
  out.life(life, true);
  return out.take();
}

LostRow unpack_lost(std::string_view bytes) {
  PackedReader in(bytes);
  if (in.number() != form)
    throw Error(ErrorKind::corrupt, "unknown_form", "the conflict was listed by a newer version of rowmesh");
  LostRow lost;
  lost.table = static_cast<TableId>(in.number());
  lost.key = in.text();
  Life life = in.life(true);
  lost.birth = life.birth;
  if (!life.side) throw Error(ErrorKind::corrupt, "no_values", "the conflict was kept without its values");
  lost.columns = life.side->columns;
  lost.values = std::move(life.side->values);
  lost.types = std::move(life.side->types);
  return lost;
}

const char* nothing_to_restore(std::string_view resolution) {
  const Kept* kept = kept_by(resolution);
  return kept ? kept->why : "no values were kept of what lost here";
}

}  // namespace rowmesh
