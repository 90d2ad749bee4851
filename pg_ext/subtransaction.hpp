// Work that the database may refuse, undone if it does, so that the transaction goes on.
#pragma once
#include <string>
#include <type_traits>

#include "shared/model/error.hpp"

#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {

// Not "Refusal": the core has one, and two types of one name share their destructor (a crash at the next refusal).
struct DatabaseRefusal {
  bool refused = false;
  std::string code;        // SQLSTATE
  std::string text;        // one sentence
  std::string constraint;  // its name, or an index's
};

// Runs `function` in an internal subtransaction. False: it raised, everything it did is undone, `refusal` says why.
// Throws Error(transient) instead for what passes by itself (contention, lack of resources): nobody may take that for a
// refusal. The rule of guard() holds inside.
bool attempt_call(void (*function)(void*), void* argument, DatabaseRefusal& refusal);

template <class F>
bool attempt(F&& function, DatabaseRefusal& refusal) {
  using Callable = std::remove_reference_t<F>;
  return attempt_call([](void* argument) { (*static_cast<Callable*>(argument))(); },
                      const_cast<void*>(static_cast<const void*>(&function)), refusal);
}

}  // namespace rowmesh
