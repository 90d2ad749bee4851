#include <string>

#include "shared/fuzz/target.hpp"
#include "shared/model/error.hpp"
#include "shared/model/hex.hpp"
#include "shared/model/settings.hpp"
#include "shared/model/version.hpp"
#include "shared/net/event_loop.hpp"
#include "shared/sync/hello.hpp"
#include "shared/sync/node_state.hpp"
#include "shared/sync/server_options.hpp"

namespace rowmesh::fuzz {
namespace {

template <typename Read>
void attempt(Read read) {
  try {
    read();
  } catch (const Error&) {
    // refused with a sentence
  }
}

}  // namespace

void json(std::string_view input) {
  Input in(input);
  std::uint8_t which = in.byte();
  std::string text(in.rest());
  switch (which % 8) {
    case 0:
      attempt([&] {
        Hello hello = hello_from_json(text);
        std::string again = hello_to_json(hello);
        promise(hello_to_json(hello_from_json(again)) == again, "a hello is read as it was written");
      });
      break;
    case 1:
      attempt([&] {
        std::uint64_t rows = 0, conflicts = 0;
        Progress progress = progress_from_json(text, &rows, &conflicts);
        std::string again = progress_to_json(progress, rows, conflicts);
        progress = progress_from_json(again, &rows, &conflicts);
        promise(progress_to_json(progress, rows, conflicts) == again, "a progress is read as it was written");
      });
      break;
    case 2: {
      std::string error, sentence;
      Progress progress;
      CopyWaits waits;
      attempt([&] { error_from_json(text, &error, &sentence, &progress, nullptr, &waits); });
      waits.keep_to_own();
      waits.gives_to(waits.self);
      break;
    }
    case 3: attempt([&] { parse_server_options(text); }); break;
    case 4:
      for (const Setting& setting : all_settings()) attempt([&] { check_setting(setting, text); });
      break;
    case 5: attempt([&] { is_loopback(parse_listen_address(text)); }); break;
    case 6:
      attempt([&] {
        NodeState state = NodeState::decode(text);
        std::string again = state.encode(state.hlc);
        promise(NodeState::decode(again).encode(state.hlc) == again, "a state is read as it was written");
      });
      break;
    case 7:
      attempt([&] { promise(from_hex(to_hex(from_hex(text))) == from_hex(text), "hex is read as it was written"); });
      promise(bytes_from_hex(bytes_to_hex(text)) == text, "bytes survive hex");
      break;
  }
}

}  // namespace rowmesh::fuzz
