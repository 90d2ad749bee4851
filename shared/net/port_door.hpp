// One port for several databases of this machine. The first that can bind it is its door: it answers under its own path
// and hands on what is for the others, who listen behind it on a loopback port of their own.
//
//     server --- POST /stock/rowmesh/v1/changes ---> door, 0.0.0.0:8080/sales --- POST /rowmesh/v1/changes ---> /stock
//                                                        (TLS ends here)          + who asks, sealed 127.0.0.1:*
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shared/net/curl_client.hpp"
#include "shared/net/event_loop.hpp"
#include "shared/net/relay.hpp"

namespace rowmesh {

// Who asks, as the door saw it.
struct DoorClient {
  std::string address;
  bool tls = false;
  std::string authorities;  // SHA-256 of the CA file by which its certificate was found to be good; '': none was shown
};
// In two headers, sealed with the key of the database behind: nobody else can say in whose name he asks.
void introduce(const DoorClient& client, const std::string& key, HttpRequest& request);
// Takes the headers out. nullopt without them: not by way of a door. Throws Error(permanent) if the seal does not fit.
std::optional<DoorClient> introduced(const std::string& key, HttpRequest& request);

class PortDoor {
 public:
  explicit PortDoor(Poller& poller) : client_(poller, 0) {}

  enum class Place { here, behind, no_slash, root_only, nobody };
  // Whose a request is; takes the path in front off it.
  Place place_of(const ListenAddress& own, HttpRequest& request, Neighbour& behind);
  std::unique_ptr<Relay> relay(const Neighbour& to, HttpRequest head, const DoorClient& client, Relay::Size size);

  // Throws Error(config) if a neighbour has that path on that port. `inside`: ours, if we are behind the door already.
  void refuse_taken(const ListenAddress& wanted, const std::string& inside) const;
  bool has_door(const ListenAddress& wanted) const;

  void share(PortSharing sharing) { sharing_ = std::move(sharing); }
  std::string own_key() const { return sharing_.local_key ? sharing_.local_key() : std::string(); }
  CurlClient& client() { return client_; }

 private:
  std::vector<Neighbour> neighbours() const;
  const std::vector<Neighbour>& known();

  CurlClient client_;  // apart from the one that asks other servers: its connections are counted by host
  PortSharing sharing_;
  std::vector<Neighbour> known_;
  std::int64_t looked_ms_ = -1;
};

}  // namespace rowmesh
