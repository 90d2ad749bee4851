#include "shared/web/metrics.hpp"

#include <charconv>
#include <functional>

namespace rowmesh {
namespace {

std::string number_text(double number) {
  char text[40];
  auto [end, failure] = std::to_chars(text, text + sizeof text, number);
  return failure == std::errc() ? std::string(text, end) : "NaN";
}

std::string quoted(const std::string& value) {
  std::string text = "\"";
  for (char letter : value) {
    if (letter == '\n') {
      text += "\\n";
      continue;
    }
    if (letter == '"' || letter == '\\') text += '\\';
    text += letter;
  }
  return text + "\"";
}

using Labels = std::vector<std::pair<const char*, std::string>>;

class Page {
 public:
  void family(const std::string& name, const char* type, const char* help) {
    name_ = "rowmesh_" + name;
    text_ += "# HELP " + name_ + " " + help + "\n# TYPE " + name_ + " " + type + "\n";
  }
  void sample(const Labels& labels, double value, const char* suffix = "") {
    text_ += name_ + suffix;
    for (std::size_t i = 0; i < labels.size(); i++)
      text_ += std::string(i ? "," : "{") + labels[i].first + "=" + quoted(labels[i].second);
    text_ += (labels.empty() ? " " : "} ") + number_text(value) + "\n";
  }
  void single(const std::string& name, const char* type, const char* help, double value) {
    family(name, type, help);
    sample({}, value);
  }
  template <const auto& bounds>
  void histogram(const std::string& server, const Histogram<bounds>& from) {
    std::uint64_t so_far = 0;
    for (std::size_t i = 0; i < bounds.size(); i++) {
      so_far += from.counts[i];
      sample({{"server", server}, {"le", number_text(bounds[i])}}, static_cast<double>(so_far), "_bucket");
    }
    so_far += from.counts[bounds.size()];
    sample({{"server", server}, {"le", "+Inf"}}, static_cast<double>(so_far), "_bucket");
    sample({{"server", server}}, from.sum, "_sum");
    sample({{"server", server}}, static_cast<double>(so_far), "_count");
  }
  std::string take() { return std::move(text_); }

 private:
  std::string name_, text_;
};

void add_node(Page& page, const MetricsInput& in) {
  const NodeStatus& status = in.status;
  page.family("info", "gauge", "Who this node is. Always 1.");
  page.sample({{"node", in.identity.node},
               {"name", in.identity.name},
               {"engine", in.engine.engine},
               {"version", ROWMESH_VERSION}},
              1);
  auto gauge = [&](const char* name, const char* help, std::uint64_t value) {
    page.single(name, "gauge", help, static_cast<double>(value));
  };
  auto counter = [&](const char* name, const char* help, std::uint64_t value) {
    page.single(name, "counter", help, static_cast<double>(value));
  };
  page.single("start_time_seconds", "gauge", "When the worker started, since 1970.",
              static_cast<double>(status.started_ms) / 1000);
  counter("changes_captured_total", "Changed rows that were read from the log.", status.captured);
  counter("changes_applied_total", "Changes of other servers that were applied.", status.applied);
  page.family("conflicts_total", "counter", "Conflicts that were decided here, by type.");
  for (auto& [type, count] : in.conflicts_by_type) page.sample({{"type", type}}, static_cast<double>(count));
  if (in.conflicts_by_type.empty()) page.sample({{"type", "update_origin_differs"}}, 0);
  page.family("refused_requests_total", "counter", "Requests that were refused, by reason.");
  for (std::size_t i = 0; i < refusal_kinds; i++)
    page.sample({{"reason", refusal_names[i]}}, static_cast<double>(status.refused.of[i]));
  gauge("quarantined_rows", "Rows that this database refuses and that wait for a person.", status.quarantined);
  gauge("waiting_rows", "Rows in quarantine, hidden or held.", status.side_rows);
  gauge("unsettled_rows", "Rows that are remembered because some server may not have them yet.", status.unsettled);
  gauge("held_bytes", "Documents and answers that wait here to be applied, fetched or looked at.", in.held.bytes);
  gauge("unwritten_positions", "Positions whose record could not be written to the history yet.", in.held.unwritten);
  gauge("log_bytes", "Size of the log and of the history.", in.storage.log_bytes);
  gauge("database_bytes", "Size of the database.", in.storage.database_bytes);
  gauge("disk_free_bytes", "Free space where the database lies.", in.storage.disk_free_bytes);
  page.family("health_status", "gauge", "Named checks of /health: 0 ok, 1 degraded, 2 failing.");
  for (const HealthCheck& check : in.health.checks)
    if (check.check.find(' ') == std::string::npos)
      page.sample({{"check", check.check}}, static_cast<double>(check.verdict));
}

void add_servers(Page& page, const MetricsInput& in) {
  using Value = std::function<double(const ServerStatus&)>;
  auto each = [&](const char* name, const char* type, const char* help, const Value& value) {
    page.family(name, type, help);
    for (const ServerStatus& server : in.status.servers) page.sample({{"server", server.name}}, value(server));
  };
  each("server_up", "gauge", "1 while changes flow (streaming, catching up, copying).", [](const ServerStatus& server) {
    return server.state == "streaming" || server.state == "catching up" || server.state == "copying" ? 1.0 : 0.0;
  });
  each("server_enabled", "gauge", "1 unless it was disabled.",
       [](const ServerStatus& server) { return server.state == "disabled" ? 0.0 : 1.0; });
  page.family("server_state", "gauge", "The state of each server. Always 1.");
  for (const ServerStatus& server : in.status.servers)
    page.sample({{"server", server.name}, {"state", server.state}}, 1);
  each("server_queue_changes", "gauge", "Changed rows that it has not confirmed.",
       [](const ServerStatus& server) { return static_cast<double>(server.queued); });
  each("server_oldest_unsent_seconds", "gauge", "Age of the oldest change that it has not confirmed.",
       [](const ServerStatus& server) { return static_cast<double>(server.lag_ms) / 1000; });
  each("server_last_success_timestamp_seconds", "gauge", "When it last answered well, since 1970; 0: never.",
       [](const ServerStatus& server) { return static_cast<double>(server.last_success_ms) / 1000; });
  each("server_clock_ahead_seconds", "gauge", "Its clock before ours.",
       [](const ServerStatus& server) { return static_cast<double>(server.clock_ahead_ms) / 1000; });
  each("server_changes_shipped_total", "counter", "Changed rows that were sent to it.",
       [](const ServerStatus& server) { return static_cast<double>(server.rows_sent); });
  each("server_changes_received_total", "counter", "Changed rows that came from it.",
       [](const ServerStatus& server) { return static_cast<double>(server.rows_received); });
  each("server_conflicts_total", "counter", "Conflicts in what came from it.",
       [](const ServerStatus& server) { return static_cast<double>(server.conflicts); });
  each("server_retries_total", "counter", "Requests to it that got no useful answer and are tried again.",
       [](const ServerStatus& server) { return static_cast<double>(server.failures); });
}

void add_details(Page& page, const MetricsInput& in) {
  auto each = [&](const char* name, const char* help, std::uint64_t ServerMeters::*value) {
    page.family(name, "counter", help);
    for (const ServerDetail& server : in.details)
      page.sample({{"server", server.name}}, static_cast<double>(server.meters.*value));
  };
  each("server_documents_shipped_total", "Documents that were sent to it.", &ServerMeters::documents_sent);
  each("server_documents_received_total", "Documents that came from it.", &ServerMeters::documents_received);
  each("server_shipped_bytes_total", "Bytes of documents that were sent to it, as they travel.",
       &ServerMeters::bytes_sent);
  each("server_received_bytes_total", "Bytes of documents that came from it, as they travel.",
       &ServerMeters::bytes_received);
  page.family("server_batch_changes", "histogram", "Changes in a document that was sent.");
  for (const ServerDetail& server : in.details) page.histogram(server.name, server.meters.batch_changes);
  page.family("server_ship_seconds", "histogram", "From sending a document to its answer.");
  for (const ServerDetail& server : in.details) page.histogram(server.name, server.meters.ship_seconds);
  page.family("server_apply_seconds", "histogram", "Applying a document that came from it.");
  for (const ServerDetail& server : in.details) page.histogram(server.name, server.meters.apply_seconds);
  page.family("server_lag_seconds", "histogram", "From a commit here to the news that it is applied there.");
  for (const ServerDetail& server : in.details) page.histogram(server.name, server.meters.lag_seconds);
}

}  // namespace

std::string metrics_text(const MetricsInput& input) {
  Page page;
  add_node(page, input);
  add_servers(page, input);
  add_details(page, input);
  return page.take();
}

}  // namespace rowmesh
