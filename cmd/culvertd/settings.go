package main

import (
	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/config"
	"github.com/culvert-ssh/culvert/server"
)

// authSettings are what package auth needs to know of the configuration.
func authSettings(s config.Settings) auth.Settings {
	return auth.Settings{
		PubkeyAuthentication:   s.PubkeyAuthentication,
		AuthorizedKeysFile:     s.AuthorizedKeysFile,
		PasswordAuthentication: s.PasswordAuthentication,
		PasswordFile:           s.PasswordFile,
	}
}

// serverSettings are what package server needs to know of it for one subject.
func serverSettings(s config.Settings) server.Settings {
	return server.Settings{
		MaxAuthTries:        s.MaxAuthTries,
		MaxSessions:         s.MaxSessions,
		MaxChannels:         s.MaxChannels,
		ConnectTimeout:      s.ConnectTimeout,
		ClientAliveInterval: s.ClientAliveInterval,
		ClientAliveCountMax: s.ClientAliveCountMax,
		Banner:              s.Banner,
	}
}

// live is what it needs before anything is known of a client.
func (g *generation) live() server.Live {
	return server.Live{
		HostKeys:          g.hostKeys,
		HostKeyAlgorithms: g.global.HostKeyAlgorithms,
		KexAlgorithms:     g.global.KexAlgorithms,
		Ciphers:           g.global.Ciphers,
		MACs:              g.global.MACs,
		RekeyBytes:        g.global.RekeyBytes,
		VersionAddendum:   g.global.VersionAddendum,
		LoginGraceTime:    g.global.LoginGraceTime,
		MaxStartups:       server.Startups(g.global.MaxStartups),
		TCPKeepAlive:      g.global.TCPKeepAlive,
	}
}
