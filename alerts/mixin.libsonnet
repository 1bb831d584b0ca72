// The rules and boards as a monitoring mixin: prometheusAlerts, prometheusRules and grafanaDashboards, with what a site may
// choose. mixin-rules.json is made by `python -m alerts`; any jsonnet from 0.18 on reads it.
local made = import 'mixin-rules.json';

{
  _config+:: {
    runbookBase: made.words.runbook_base,
    dashboardBase: made.words.dashboard_base,
    // the scrape jobs of the exporter and of the accounting service, as regular expressions
    exporterJobs: made.words.exporter_jobs,
    serviceJobs: made.words.service_jobs,
    // other thresholds, by their names in thresholds.yaml: { paused_critical: '0.4', stalled_for: '20m' }
    thresholds: {},
    // other severities, by alert, or by alert and severity: { RdmaDiscards: 'info', 'RdmaPortPaused/critical': 'warning' }
    severities: {},
    // other links, by alert: { RdmaPortDown: 'https://wiki/port-down' }
    runbooks: {},
    dashboards: {},
    // a fabric with pause frames alone: its congestion counters say nothing
    noEcn: false,
    // packets of a flow take several paths and arrive out of sequence
    adaptiveRouting: false,
    // several exporters share the fleet (exporter --shard): rules that add their parts up
    sharded: false,
    // groups that a site does without (gpu, scheduler, accounting, exporter), and alerts by name
    without: [],
    // labels added to every alert, for routing
    labels: {},
    // tags added to every board
    tags: [],
  },

  local c = $._config,
  local unknown = [name for name in std.objectFields(c.thresholds) if !std.member(made.thresholds, name)],
  local words =
    assert unknown == [] : 'no threshold ' + std.join(', ', unknown) + '; there are ' + std.join(', ', made.thresholds);
    made.words + {
      runbook_base: c.runbookBase,
      dashboard_base: c.dashboardBase,
      exporter_jobs: c.exporterJobs,
      service_jobs: c.serviceJobs,
    } + { [name]: '' + c.thresholds[name] for name in std.objectFields(c.thresholds) },

  // 1h30m as a number of seconds
  local units = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 },
  local seconds(text) =
    local step(state, char) =
      if std.length(std.findSubstr(char, '0123456789')) > 0 then
        if state.unit == '' then state { number+: char }
        else state { sum+: std.parseInt(state.number) * units[state.unit], number: char, unit: '' }
      else state { unit+: char };
    local end = std.foldl(step, std.stringChars(text), { sum: 0, number: '', unit: '' });
    '' + (end.sum + std.parseInt(end.number) * units[end.unit]),

  local asked = {
    [name + ':seconds']: seconds(words[name])
    for name in std.objectFields(words)
    if std.length(words[name]) > 1
    if std.objectHas(units, std.substr(words[name], std.length(words[name]) - 1, 1))
    if std.member('0123456789', std.substr(words[name], 0, 1))
  } + words,
  // a text with words is a list: at odd places are their names
  local fill(text) =
    if std.isString(text) then text
    else std.join('', [if n % 2 == 0 then text[n] else asked[text[n]] for n in std.range(0, std.length(text) - 1)]),

  local filled(rule) = rule { expr: fill(super.expr) }
                       + (if std.objectHas(rule, 'for') then { 'for': fill(rule['for']) } else {})
                       + (if std.objectHas(rule, 'keep_firing_for') then { keep_firing_for: fill(rule.keep_firing_for) } else {}),
  local alert(rule) =
    local name = rule.alert;
    local own = name + '/' + rule.labels.severity;
    local severity =
      if std.objectHas(c.severities, own) then c.severities[own]
      else if std.objectHas(c.severities, name) then c.severities[name]
      else rule.labels.severity;
    filled(rule) {
      labels: { [key]: fill(rule.labels[key]) for key in std.objectFields(rule.labels) } + { severity: severity } + c.labels,
      annotations: { [key]: fill(rule.annotations[key]) for key in std.objectFields(rule.annotations) }
                   + (if std.objectHas(c.runbooks, name) then { runbook_url: c.runbooks[name] } else {})
                   + (if std.objectHas(c.dashboards, name) then { dashboard_url: c.dashboards[name] } else {}),
    },
  local wanted = [
    name
    for name in ['fabric', 'fabric-ecn', 'fabric-ordered', 'gpu', 'scheduler', 'accounting', 'exporter']
    if !(name == 'fabric-ecn' && c.noEcn)
    if !(name == 'fabric-ordered' && c.adaptiveRouting)
    if !std.member(c.without, name)
  ],
  local records(name) = [group { rules: [filled(rule) for rule in group.rules] } for group in made.groups[name].groups],

  prometheusRules+:: { groups+: records('recording') + (if c.sharded then records('shards') else []) },
  prometheusAlerts+:: {
    groups+: [
      group { rules: [alert(rule) for rule in group.rules if !std.member(c.without, rule.alert)] }
      for name in wanted
      for group in made.groups[name].groups
    ],
  },
  grafanaDashboards+:: {
    ['meterbridge-' + name + '.json']: boards[name] { tags+: c.tags }
    for name in std.objectFields(boards)
  },
  local boards = {
    fleet: import '../dashboards/json/fleet.json',
    project: import '../dashboards/json/project.json',
    job: import '../dashboards/json/job.json',
    fabric: import '../dashboards/json/fabric.json',
    chargeback: import '../dashboards/json/chargeback.json',
    'self': import '../dashboards/json/self.json',
  },
}
