// The rule files of rules/ as a monitoring mixin: prometheusAlerts and prometheusRules, with what a site may choose.
// Thresholds are not chosen here: `python -m alerts --threshold name=value` writes rules/ with other ones.
local file(name) = {
  recording: std.parseYaml(importstr 'rules/recording.yaml'),
  fabric: std.parseYaml(importstr 'rules/fabric.yaml'),
  'fabric-ecn': std.parseYaml(importstr 'rules/fabric-ecn.yaml'),
  'fabric-ordered': std.parseYaml(importstr 'rules/fabric-ordered.yaml'),
  gpu: std.parseYaml(importstr 'rules/gpu.yaml'),
  scheduler: std.parseYaml(importstr 'rules/scheduler.yaml'),
  accounting: std.parseYaml(importstr 'rules/accounting.yaml'),
  exporter: std.parseYaml(importstr 'rules/exporter.yaml'),
  shards: std.parseYaml(importstr 'rules/shards.yaml'),
}[name];

{
  _config+:: {
    runbookBase: 'https://meterbridge.example.org/docs/runbooks',
    dashboardBase: 'https://grafana.example.org',
    // a fabric with pause frames alone: its congestion counters say nothing
    noEcn: false,
    // packets of a flow take several paths and arrive out of sequence
    adaptiveRouting: false,
    // several exporters share the fleet (exporter --shard): rules that add their parts up
    sharded: false,
    // groups that a site does without: gpu, scheduler, accounting, exporter
    without: [],
    // labels added to every alert, for routing
    labels: {},
  },

  local c = $._config,
  local linked(url) = std.strReplace(
    std.strReplace(url, 'https://meterbridge.example.org/docs/runbooks', c.runbookBase),
    'https://grafana.example.org',
    c.dashboardBase
  ),
  local alert(rule) = rule {
    labels+: c.labels,
    annotations+: { runbook_url: linked(super.runbook_url), dashboard_url: linked(super.dashboard_url) },
  },
  local wanted = [
    name
    for name in ['fabric', 'fabric-ecn', 'fabric-ordered', 'gpu', 'scheduler', 'accounting', 'exporter']
    if !(name == 'fabric-ecn' && c.noEcn)
    if !(name == 'fabric-ordered' && c.adaptiveRouting)
    if !std.member(c.without, name)
  ],

  prometheusRules+:: { groups+: file('recording').groups + (if c.sharded then file('shards').groups else []) },
  prometheusAlerts+:: {
    groups+: [
      group { rules: [alert(rule) for rule in group.rules] }
      for name in wanted
      for group in file(name).groups
    ],
  },
}
