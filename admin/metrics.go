package admin

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/culvert-ssh/culvert/audit"
)

// Metrics count what happens, as the audit log tells it. Each label has few values, none of which a client can make up: what isn't
// known is "other".
type Metrics struct {
	connections     prometheus.Counter
	refused         *prometheus.CounterVec
	authentications *prometheus.CounterVec
	penalties       *prometheus.CounterVec
	channels        *prometheus.CounterVec
	decisions       *prometheus.CounterVec
	listens         *prometheus.CounterVec
	announced       prometheus.Counter
	transfers       *prometheus.CounterVec
	reloads         *prometheus.CounterVec
	lost            prometheus.Counter

	all []prometheus.Collector
}

// NewMetrics returns counters at zero.
func NewMetrics() *Metrics {
	m := &Metrics{}
	count := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "culvert", Name: name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "culvert", Name: name, Help: help}, labels)
		m.all = append(m.all, c)
		return c
	}
	m.connections = count("connections_total", "SSH connections that were taken in.")
	m.refused = vector("connections_refused_total", "Connections that were closed before anything was read from them.", "reason")
	m.authentications = vector("authentications_total", "Attempts to authenticate.", "method", "result")
	m.penalties = vector("penalties_total", "Penalties of PerSourcePenalties.", "class")
	m.channels = vector("channels_total", "Channels that were asked for.", "type", "result")
	m.decisions = vector("decisions_total", "Decisions of the policy, one for each address of a name.", "result")
	m.listens = vector("listens_total", "Remote forwardings that were asked for.", "result")
	m.announced = count("ftp_announced_total", "FTP data endpoints that were announced and may be opened.")
	m.transfers = vector("ftp_transfers_total", "FTP transfers that ended.", "direction", "result")
	m.reloads = vector("reloads_total", "Times that the configuration was read again.", "result")
	m.lost = count("audit_lost_total", "Audit events that could not be written.")
	return m
}

// Observe counts an audit event. It may be called from any goroutine.
func (m *Metrics) Observe(e audit.Event) {
	switch e := e.(type) {
	case audit.ConnectionOpened:
		m.connections.Inc()
	case audit.ConnectionRefused:
		class, _, _ := strings.Cut(e.Reason, ":")
		m.refused.WithLabelValues(among(class, "MaxStartups", "PerSourceMaxStartups", "PerSourcePenalties")).Add(float64(max(1, e.Count)))
	case audit.Authentication:
		m.authentications.WithLabelValues(among(e.Method, "publickey", "password", "keyboard-interactive"), among(e.Result, "accepted", "partial", "refused")).Inc()
	case audit.Penalty:
		m.penalties.WithLabelValues(among(e.Class, "crash", "authfail", "invaliduser", "noauth", "grace-exceeded", "refuseconnection")).Inc()
	case audit.ChannelOpened:
		m.channels.WithLabelValues(channelType(e.Type), "opened").Inc()
	case audit.ChannelRefused:
		m.channels.WithLabelValues(channelType(e.Type), "refused").Inc()
	case audit.ChannelDecided:
		m.decisions.WithLabelValues(among(e.Result, "allowed", "denied")).Inc()
	case audit.ListenOpened:
		m.listens.WithLabelValues("opened").Inc()
	case audit.ListenRefused:
		m.listens.WithLabelValues("refused").Inc()
	case audit.FTPAnnounced:
		m.announced.Inc()
	case audit.FTPTransfer:
		m.transfers.WithLabelValues(among(e.Direction, "download", "upload", "listing"), among(e.Result, "complete", "failed", "aborted")).Inc()
	case audit.Reload:
		m.reloads.WithLabelValues(among(e.Result, "done", "refused")).Inc()
	case audit.Lost:
		m.lost.Add(float64(e.Lost))
	}
}

// among is word if it is one of those that are known.
func among(word string, known ...string) string {
	for _, k := range known {
		if word == k {
			return k
		}
	}
	return "other"
}

func channelType(word string) string {
	return among(word, "session", "direct-tcpip", "forwarded-tcpip", "tcpip-forward", "direct-streamlocal@openssh.com",
		"stripe@culvert")
}

// registry returns all that /metrics shows.
func (m *Metrics) registry(b *Bastion) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(m.all...)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newPresent(b))
	return r
}
