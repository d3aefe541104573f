package main

import (
	"time"

	"github.com/culvert-ssh/culvert/config"
	"github.com/culvert-ssh/culvert/hostkeys"
	"github.com/culvert-ssh/culvert/policy"
)

// generation is all that was read at one time. It doesn't change: a reload puts another in its place, and whoever asks
// twice may be answered by two.
type generation struct {
	config   *config.Config
	global   config.Settings
	policy   *policy.Policy
	hostKeys *hostkeys.Keys
	warnings []config.Warning
	sha256   string // of the configuration and what it includes, in hexadecimal
}

// read reads the configuration and the host keys, and checks all that can be checked without starting. With an error, which says
// what is wrong, there are only the warnings and the hash.
func read(o options) (generation, error) {
	loaded, err := config.Load(o.config, o.overrides)
	g := generation{config: loaded.Config, warnings: loaded.Warnings, sha256: loaded.SHA256}
	if err != nil {
		return g, err
	}
	g.global = g.config.Global()
	g.policy = g.config.Policy()
	g.hostKeys, err = hostkeys.Load(hostkeys.Config{
		Files: g.global.HostKeys, Certificates: g.global.HostCertificates, Agent: g.global.HostKeyAgent, Now: time.Now(),
	})
	if err != nil {
		return g, err
	}
	for _, text := range g.hostKeys.Warnings {
		g.warnings = append(g.warnings, config.Warning{At: config.Position{File: o.config}, Keyword: "HostCertificate", Text: text})
	}
	return g, nil
}

// rules counts the lines that permit or deny.
func (g *generation) rules() int {
	n := countLines(g.policy.Global)
	for _, b := range g.policy.Blocks {
		n += countLines(b.Rules)
	}
	return n
}

func countLines(r policy.Rules) int {
	n := len(r.DenyOpen)
	if r.PermitOpen != nil {
		n++
	}
	return n
}
