// Another node of this machine that the same people look after: shown in one dashboard, and perhaps behind one port.
#pragma once
#include <string>

namespace rowmesh {

struct Neighbour {
  std::string node, name;
  std::string address;  // where others reach it: "127.0.0.1:8081", "0.0.0.0:8080/stock"; empty: it does not listen
  std::string
      inside;       // "127.0.0.1:45123": where it listens behind the one that holds the port; empty: it holds its own
  std::string key;  // proves to it that we may do everything: Administration::local_key there
};

}  // namespace rowmesh
