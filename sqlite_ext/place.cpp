// Where a file belongs: the machine, its path and its inode. A file that is found elsewhere was copied or moved.
#include "sqlite_ext/place.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <fstream>

#include "sqlite_ext/current_status.hpp"
#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {
namespace {

struct Place {
  std::string machine, path, inode;
};

std::string machine() {
  std::string id;
  std::ifstream file("/etc/machine-id");
  if (std::getline(file, id) && !id.empty()) return id;
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "";
}

Place place_of(sqlite3* db) {
  const char* path = sqlite3_db_filename(db, "main");
  char resolved[PATH_MAX];
  struct stat about;
  if (!path || !realpath(path, resolved) || stat(resolved, &about) != 0) return {};
  return {machine(), resolved, std::to_string(about.st_ino)};
}

std::string text_of(const Place& place) { return place.machine + "\n" + place.inode + "\n" + place.path; }

// Nothing in the file tells what was written before it was copied from what was written to the copy: the triggers are
// plain SQL, which cannot ask where the file lies, and only a worker could have noted how far the log went, which is
// what no worker has read. So it is said, while copying again is still easy.
std::string unread_warning(std::int64_t unread) {
  if (unread == 0) return "";
  return ". No worker has read the last " + std::to_string(unread) + (unread == 1 ? " change" : " changes") +
         " in it: what was written before it was copied comes from the original as well, and rows with integer keys "
         "would be there twice. Where that may be, copy it again when rowmesh_log is empty in the original (after "
         "rowmesh_wait() there), rather than give this one an identity";
}

Place place_from(const std::string& text) {
  std::size_t first = text.find('\n'), second = text.find('\n', first + 1);
  if (first == std::string::npos || second == std::string::npos) return {};
  return {text.substr(0, first), text.substr(second + 1), text.substr(first + 1, second - first - 1)};
}

}  // namespace

void note_place(sqlite3* db) { set_state_value(db, "place", text_of(place_of(db))); }

// One of three may differ: renamed; replaced by a backup or by VACUUM INTO (older content is noticed by what other
// servers have of it); a disk that went to another machine.
std::string check_place(sqlite3* db) {
  std::string noted = state_value(db, "place");
  Place here = place_of(db), then = place_from(noted);
  if (here.path.empty() || text_of(here) == noted) return "";
  int differ = (here.machine != then.machine) + (here.path != then.path) + (here.inode != then.inode);
  if (noted.empty() || differ <= 1) {
    note_place(db);
    return "";
  }
  return "this file was made node at '" + then.path +
         "' and is a copy, or was moved: if it is a copy, call rowmesh_new_identity('copied'), and it "
         "becomes a node of its own; if the file that was there is gone for good, call rowmesh_new_identity('moved')" +
         unread_warning(unread_log(db));
}

}  // namespace rowmesh::sqlite
