// libFuzzer's door to the target that ROWMESH_FUZZ_TARGET names.
#include <cstddef>

#include "shared/fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  rowmesh::fuzz::ROWMESH_FUZZ_TARGET({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
