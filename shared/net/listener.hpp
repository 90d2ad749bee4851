// A listening socket of our own, so that an address that is taken gives a clear error before the old listener is given
// up.
#pragma once
#include <string>

#include "shared/net/event_loop.hpp"

struct sockaddr;

namespace rowmesh {

inline constexpr const char* address_in_use = "address_in_use";  // the code of the Error that open_listener throws then

// Throws Error(config). The caller closes it.
int open_listener(const ListenAddress& address);
std::uint16_t port_of(int listener);
std::string numeric_address(const sockaddr* address);

}  // namespace rowmesh
