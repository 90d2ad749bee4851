// Signals are blocked around calls that may create a thread (libcurl's resolver, measured: it inherits the mask of its maker, and
// handlers of the host would run in it).
#pragma once
#include <csignal>
#include <pthread.h>

namespace rowmesh {

class SignalBlock {
 public:
  SignalBlock() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t before_;
};

}  // namespace rowmesh
