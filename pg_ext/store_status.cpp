// The status as JSON text in shared memory, where the views and functions of all sessions read it.
#include "pg_ext/store.hpp"
#include "shared/sync/status_json.hpp"

#include "pg_ext/guard.hpp"

namespace rowmesh {

void PgStore::publish_status(const NodeStatus& status) {
  NodeStatus complete = status;
  add_listener(complete);
  std::string text = status_to_json(complete);
  guard([&] { publish_status_text(slot_, text); });
}

void PgStore::add_listener(NodeStatus& status) const {
  status.listening = listening_;
  status.inside = inside_;
  status.listen_problem = listen_problem_;
}

void PgStore::set_listening(const std::string& address, const std::string& inside, const std::string& problem) {
  listening_ = address;
  inside_ = inside;
  listen_problem_ = problem;
}

}  // namespace rowmesh
