package main

import (
	"time"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/config"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/server"
)

// authSettings are what package auth needs to know of the configuration.
func authSettings(s config.Settings) auth.Settings {
	return auth.Settings{
		AuthenticationMethods:           s.AuthenticationMethods,
		PubkeyAuthentication:            s.PubkeyAuthentication,
		PasswordAuthentication:          s.PasswordAuthentication,
		KbdInteractiveAuthentication:    s.KbdInteractiveAuthentication,
		PermitRootLogin:                 auth.RootLogin(s.PermitRootLogin),
		PubkeyAcceptedAlgorithms:        s.PubkeyAcceptedAlgorithms,
		CASignatureAlgorithms:           s.CASignatureAlgorithms,
		RequiredRSASize:                 s.RequiredRSASize,
		AuthorizedKeysFile:              s.AuthorizedKeysFile,
		AuthorizedKeysCommand:           s.AuthorizedKeysCommand,
		AuthorizedKeysCommandUser:       s.AuthorizedKeysCommandUser,
		TrustedUserCAKeys:               s.TrustedUserCAKeys,
		AuthorizedPrincipalsFile:        s.AuthorizedPrincipalsFile,
		AuthorizedPrincipalsCommand:     s.AuthorizedPrincipalsCommand,
		AuthorizedPrincipalsCommandUser: s.AuthorizedPrincipalsCommandUser,
		RevokedKeys:                     s.RevokedKeys,
		TouchRequired:                   s.TouchRequired,
		VerifyRequired:                  s.VerifyRequired,
		PasswordFile:                    s.PasswordFile,
		Line:                            s.Line,
	}
}

// asking answers questions about users who aren't there, at a moment. It runs no commands.
func asking(c *config.Config, p *policy.Policy, at time.Time) (*auth.Authenticator, error) {
	return auth.New(auth.Config{
		Settings: func(s policy.Subject) auth.Settings { return authSettings(c.For(s, at)) },
		Admit:    func(s policy.Subject) policy.Decision { return p.Admit(s, at) },
		Offered:  func() auth.Offered { return offered(c) },
		Now:      func() time.Time { return at },
	})
}

// offered are the methods that clients are told of.
func offered(c *config.Config) auth.Offered {
	return auth.Offered{
		PublicKey:      c.Offers("publickey"),
		Password:       c.Offers("password"),
		KbdInteractive: c.Offers("keyboard-interactive"),
	}
}

// serverSettings are what package server needs to know of it for one subject.
func serverSettings(s config.Settings) server.Settings {
	return server.Settings{
		MaxAuthTries:            s.MaxAuthTries,
		MaxConnections:          s.MaxConnections,
		MaxSessions:             s.MaxSessions,
		MaxChannels:             s.MaxChannels,
		MaxStripes:              s.MaxStripes,
		ConnectTimeout:          s.ConnectTimeout,
		ClientAliveInterval:     s.ClientAliveInterval,
		ClientAliveCountMax:     s.ClientAliveCountMax,
		Sessions:                sessions(s),
		ChrootDirectory:         s.ChrootDirectory,
		ChannelTimeouts:         channelTimeouts(s.ChannelTimeout),
		UnusedConnectionTimeout: s.UnusedConnectionTimeout,
		Banner:                  s.Banner,
		Line:                    s.Line,
	}
}

func sessions(s config.Settings) channels.Sessions {
	all := channels.Sessions{PermitTTY: s.PermitTTY, ForceCommand: s.ForceCommand, AcceptEnv: s.AcceptEnv}
	for _, sub := range s.Subsystems {
		all.Subsystems = append(all.Subsystems, channels.Subsystem(sub))
	}
	return all
}

func channelTimeouts(words []config.ChannelTimeout) []channels.Timeout {
	var all []channels.Timeout
	for _, w := range words {
		all = append(all, channels.Timeout(w))
	}
	return all
}

// live is what it needs before anything is known of a client.
func (g *generation) live() server.Live {
	return server.Live{
		HostKeys:             g.hostKeys.Handshake,
		AnnouncedKeys:        g.hostKeys.All,
		HostKeyAlgorithms:    g.global.HostKeyAlgorithms,
		KexAlgorithms:        g.global.KexAlgorithms,
		Ciphers:              g.global.Ciphers,
		MACs:                 g.global.MACs,
		RekeyBytes:           g.global.RekeyBytes,
		VersionAddendum:      g.global.VersionAddendum,
		LoginGraceTime:       g.global.LoginGraceTime,
		MaxStartups:          server.Startups(g.global.MaxStartups),
		ProxyFrom:            g.global.ProxyProtocolFrom,
		PerSourceMaxStartups: g.global.PerSourceMaxStartups,
		PerSourceBits4:       g.global.PerSourceBits4,
		PerSourceBits6:       g.global.PerSourceBits6,
		Penalties:            server.Penalties(g.global.PerSourcePenalties),
		PenaltyExempt:        g.global.PerSourcePenaltyExemptList,
		TCPKeepAlive:         g.global.TCPKeepAlive,
		MaxAuthTries:         g.config.MaxAuthTries(),
	}
}
