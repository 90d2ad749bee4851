#include "shared/model/error.hpp"

namespace rowmesh {

const char* to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::transient: return "transient";
    case ErrorKind::permanent: return "permanent";
    case ErrorKind::protocol: return "protocol";
    case ErrorKind::corrupt: return "corrupt";
    case ErrorKind::config: return "config";
    case ErrorKind::bug: return "bug";
  }
  return "bug";
}

}  // namespace rowmesh
