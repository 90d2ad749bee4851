// Every setting of both databases: PostgreSQL knows it as rowmesh.NAME, SQLite by rowmesh_config('NAME').
// docs/settings.md lists the same; a test compares them.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace rowmesh {

enum class SettingKind : std::uint8_t { text, choice, number };
enum class SettingUnit : std::uint8_t { none, kilobytes, megabytes, milliseconds, seconds };
enum SettingEngine : std::uint8_t { in_postgresql = 1, in_sqlite = 2, in_both = 3 };

struct Setting {
  const char* name;
  SettingKind kind;
  SettingEngine engines;
  const char* otherwise;  // the default
  const char* about;      // one sentence
  SettingUnit unit = SettingUnit::none;
  std::int64_t least = 0, most = 0;  // number
  const char* choices = "";          // choice: words with spaces in between
};

std::span<const Setting> all_settings();
const Setting* find_setting(std::string_view name);  // nullptr: there is none

// "kB", "MB", "ms", "s", or ''.
const char* to_string(SettingUnit unit);
// The text of a number in the setting's unit: "30", "30s", "1 min", "8GB". Throws Error(config) with a sentence.
std::int64_t setting_number(const Setting& setting, const std::string& text);
// Throws Error(config) if `text` is no value of the setting.
void check_setting(const Setting& setting, const std::string& text);

}  // namespace rowmesh
