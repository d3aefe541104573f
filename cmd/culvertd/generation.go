package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/culvert-ssh/culvert/config"
	"github.com/culvert-ssh/culvert/ftps"
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

	authorities map[string]*x509.CertPool // in the files that FTPUpstreamTLSCAFile names

	sha256 string // of the configuration and what it includes, in hexadecimal
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
	if err := g.readAuthorities(); err != nil {
		return g, err
	}
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

// maxAuthorities bounds a file of certificates, in bytes. That of a whole system has 200 KiB.
const maxAuthorities = 4 << 20

// readAuthorities reads the files that FTPUpstreamTLSCAFile names, each once.
func (g *generation) readAuthorities() error {
	g.authorities = make(map[string]*x509.CertPool)
	return g.config.ReadCAFiles(func(path string) error {
		text, err := readBounded(path, maxAuthorities)
		if err != nil {
			return err
		}
		pool, err := ftps.Roots(text)
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		g.authorities[path] = pool
		return nil
	})
}

// readBounded reads a file of at most n bytes. A pipe is none: nobody knows how long it takes.
func readBounded(path string, n int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%q is not a regular file", path)
	case info.Size() > n:
		return nil, fmt.Errorf("%q has %d bytes, and at most %d are read", path, info.Size(), n)
	}
	return os.ReadFile(path)
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
