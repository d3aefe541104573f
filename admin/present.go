package admin

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// present is what there is at the time of asking.
type present struct {
	bastion *Bastion

	build, ready, connections, channels, bytes, panics, penalised *prometheus.Desc
}

func newPresent(b *Bastion) *present {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("culvert_"+name, help, labels, nil)
	}
	return &present{
		bastion:     b,
		build:       desc("build_info", "The version.", "version"),
		ready:       desc("ready", "Whether new connections are accepted."),
		connections: desc("connections", "SSH connections that are open.", "state"),
		channels:    desc("channels", "Channels and remote forwardings that are open.", "type"),
		bytes:       desc("bytes_total", "Bytes of SSH connections, as they are on the wire.", "direction"),
		panics:      desc("panics_total", "Panics that cost one connection each."),
		penalised:   desc("penalised", "Sources that have penalties.", "active"),
	}
}

// Describe implements prometheus.Collector.
func (p *present) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.build, p.ready, p.connections, p.channels, p.bytes, p.panics, p.penalised} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (p *present) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(p.build, 1, p.bastion.Version)
	gauge(p.ready, number(p.bastion.Ready()))
	counter(p.panics, float64(p.bastion.Panics()))

	states := map[string]int{"authenticated": 0, "side": 0, "unknown": 0}
	types := map[string]int{"session": 0, "direct-tcpip": 0, "forwarded-tcpip": 0, "tcpip-forward": 0}
	for _, c := range p.bastion.Connections() {
		state := "unknown"
		switch {
		case c.First != "":
			state = "side"
		case c.User != "":
			state = "authenticated"
		}
		states[state]++
		for _, channel := range c.Channels {
			types[channelType(channel.Type)]++
		}
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		gauge(p.connections, float64(states[state]), state)
	}
	for _, kind := range slices.Sorted(maps.Keys(types)) {
		gauge(p.channels, float64(types[kind]), kind)
	}
	up, down := p.bastion.Traffic()
	counter(p.bytes, float64(up), "up")
	counter(p.bytes, float64(down), "down")

	active := map[bool]int{}
	for _, one := range p.bastion.Penalised() {
		active[one.Active]++
	}
	gauge(p.penalised, float64(active[true]), "yes")
	gauge(p.penalised, float64(active[false]), "no")
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
