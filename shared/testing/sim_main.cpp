// rowmesh_sim: runs the simulator over many seeds. A failure is printed with the seed that brings it back and its
// story.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "shared/testing/cluster.hpp"

namespace {

using namespace rowmesh::testing;

struct Options {
  std::uint64_t seeds = 1000, start = 1, seconds = 0;
  std::size_t nodes = 0;
  int topology = -1;
  bool story = false, twice = false, small = false;
  std::string without, with;  // features to leave out, or to add, by name
};

int usage() {
  std::fprintf(stderr,
               "rowmesh_sim [--seeds N] [--start S] [--seconds T] [--nodes 2..7] [--topology mesh|star|chain|ring]\n"
               "            [--with feature,...] [--without feature,...] [--small] [--story] [--twice]\n"
               "--small plays few steps of 2 or 3 nodes, so that very many runs can be made;\n"
               "--story prints what happened in each failing run; --twice checks that a seed always does the same\n");
  return 2;
}

bool parse(int count, char** words, Options& options) {
  for (int i = 1; i < count; i++) {
    std::string word = words[i];
    if (word == "--story") {
      options.story = true;
    } else if (word == "--small") {
      options.small = true;
    } else if (word == "--twice") {
      options.twice = true;
    } else if (i + 1 == count) {
      return false;
    } else if (word == "--seeds") {
      options.seeds = std::strtoull(words[++i], nullptr, 10);
    } else if (word == "--start") {
      options.start = std::strtoull(words[++i], nullptr, 10);
    } else if (word == "--seconds") {
      options.seconds = std::strtoull(words[++i], nullptr, 10);
    } else if (word == "--nodes") {
      options.nodes = std::strtoull(words[++i], nullptr, 10);
    } else if (word == "--without") {
      options.without = "," + std::string(words[++i]) + ",";
    } else if (word == "--with") {
      options.with = "," + std::string(words[++i]) + ",";
    } else if (word == "--topology") {
      std::string wanted = words[++i];
      for (int topology = 0; topology < 4; topology++)
        if (wanted == to_string(static_cast<Topology>(topology))) options.topology = topology;
      if (options.topology < 0) return false;
    } else {
      return false;
    }
  }
  for (std::string* list : {&options.with, &options.without})
    if (std::size_t at = list->find(",topology,"); at != list->npos) list->replace(at, 10, ",link,join,leave,");
  return true;
}

Plan plan_of(std::uint64_t seed, const Options& options) {
  Plan plan = options.small ? Plan::small(seed) : Plan::random(seed);
  if (options.nodes) plan.nodes = options.nodes;
  if (options.topology >= 0) plan.topology = static_cast<Topology>(options.topology);
  for (const Feature& feature : features()) {
    if (options.with.find("," + std::string(feature.name) + ",") != std::string::npos) plan.*feature.on = true;
    if (options.without.find("," + std::string(feature.name) + ",") != std::string::npos) plan.*feature.on = false;
  }
  return plan;
}

// Of virtual seconds.
void print_percentiles(const char* what, std::vector<std::uint64_t> all_ms) {
  if (all_ms.empty()) return;
  std::sort(all_ms.begin(), all_ms.end());
  std::printf("%s:", what);
  for (unsigned per_mille : {500U, 900U, 990U, 999U, 1000U})
    std::printf("  %.1f %%: %llu s", per_mille / 10.0,
                static_cast<unsigned long long>(all_ms[(all_ms.size() - 1) * per_mille / 1000] / 1000));
  std::printf("\n");
}

}  // namespace

int main(int count, char** words) {
  Options options;
  if (!parse(count, words, options)) return usage();
  auto begin = std::chrono::steady_clock::now();
  auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
  std::map<std::string, std::uint64_t> failures;  // by their first words
  std::vector<std::uint64_t> equal_ms, forgotten_ms;
  std::uint64_t runs = 0, commits = 0, requests = 0, crashes = 0, conflicts = 0, bad = 0;
  for (std::uint64_t seed = options.start; seed < options.start + options.seeds; seed++) {
    Plan plan = plan_of(seed, options);
    Outcome outcome = run_plan(plan, options.story);
    if (options.twice && outcome.failure.empty() && run_plan(plan).trace != outcome.trace)
      outcome.failure = "not deterministic: the same seed gave two different runs";
    runs++, commits += outcome.commits, requests += outcome.requests, crashes += outcome.crashes,
        conflicts += outcome.conflicts;
    equal_ms.push_back(outcome.equal_ms), forgotten_ms.push_back(outcome.forgotten_ms);
    if (!outcome.failure.empty()) {
      bad++;
      failures[outcome.failure.substr(0, outcome.failure.find(':'))]++;
      std::printf("%s\n  FAILED %s\n", plan.text().c_str(), outcome.failure.c_str());
      for (auto& line : outcome.story) std::printf("    %s\n", line.c_str());
      std::fflush(stdout);
    }
    if (options.seconds && seconds() > static_cast<double>(options.seconds)) break;
  }
  std::printf(
      "%llu runs in %.1f s (%.0f a minute), %llu bad; %llu transactions, %llu requests, %llu crashes, %llu conflicts "
      "listed\n",
      static_cast<unsigned long long>(runs), seconds(), static_cast<double>(runs) * 60 / seconds(),
      static_cast<unsigned long long>(bad), static_cast<unsigned long long>(commits),
      static_cast<unsigned long long>(requests), static_cast<unsigned long long>(crashes),
      static_cast<unsigned long long>(conflicts));
  print_percentiles("equal after", equal_ms);
  print_percentiles("settled forgotten after", forgotten_ms);
  for (auto& [failure, times] : failures)
    std::printf("%6llu  %s\n", static_cast<unsigned long long>(times), failure.c_str());
  return bad == 0 ? 0 : 1;
}
