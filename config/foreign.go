package config

import (
	"slices"
	"strings"
)

// foreign is a keyword that OpenSSH has and this version doesn't serve.
type foreign struct {
	name string
	// values are those with which ignoring it changes nothing that matters: a warning. Anything
	// else is an error. The value * is all of them.
	values []string
	why    string
}

// harmless reports whether the keyword may be ignored with the value words, and what to say then.
func (f *foreign) harmless(words []string) (text string, ok bool) {
	if slices.Contains(f.values, "*") {
		return "it is ignored: " + f.why, true
	}
	return "it is ignored: this value changes nothing here", len(words) == 1 &&
		slices.ContainsFunc(f.values, func(v string) bool { return strings.EqualFold(v, words[0]) })
}

func findForeign(name string) *foreign {
	for i := range foreigns {
		if strings.EqualFold(foreigns[i].name, name) {
			return &foreigns[i]
		}
	}
	return nil
}

var (
	always = []string{"*"}
	no     = []string{"no"}
	none   = []string{"none"}
)

const (
	whyWho       = "ignoring it would let in whom it keeps out"
	whyAlgorithm = "the algorithms can't be chosen yet"
	whyKeys      = "ignoring it would change which keys are accepted"
	whyLimit     = "the limit wouldn't be kept"
	whySession   = "there are no shells, terminals, displays or environments here"
	whyAccount   = "accounts are the bastion's own, not those of the operating system"
	whyMethod    = "the method isn't offered"
	whyGone      = "OpenSSH itself has given it up"
	whyProcess   = "it is about processes that aren't here"
)

// foreigns are the keywords of OpenSSH 10, and of Debian's, that aren't in keywords.
var foreigns = []foreign{
	{"AcceptEnv", always, whySession},
	{"AddressFamily", []string{"any"}, "write ListenAddress 0.0.0.0 or ListenAddress :: instead"},
	{"AFSTokenPassing", always, whyGone},
	{"AllowAgentForwarding", no, "agents aren't forwarded"},
	{"AllowGroups", nil, whyWho},
	{"AllowStreamLocalForwarding", no, "Unix sockets aren't forwarded"},
	{"AllowUsers", nil, whyWho + "; who has no file in AuthorizedKeysFile and no line in PasswordFile stays out"},
	{"AuthenticationMethods", []string{"any"}, "ignoring it would let in with fewer steps"},
	{"AuthorizedKeysCommand", none, whyKeys},
	{"AuthorizedKeysCommandUser", always, "there is no AuthorizedKeysCommand"},
	{"AuthorizedKeysFile2", always, whyGone},
	{"AuthorizedPrincipalsCommand", none, whyKeys},
	{"AuthorizedPrincipalsCommandUser", always, "there is no AuthorizedPrincipalsCommand"},
	{"AuthorizedPrincipalsFile", none, whyKeys},
	{"CASignatureAlgorithms", nil, whyAlgorithm},
	{"ChallengeResponseAuthentication", no, whyMethod},
	{"ChannelTimeout", none, whyLimit},
	{"CheckMail", always, whyGone},
	{"ChrootDirectory", none, whySession},
	{"Ciphers", nil, whyAlgorithm},
	{"Compression", always, "nothing is compressed"},
	{"DebianBanner", always, "the version string doesn't name the distribution"},
	{"DenyGroups", nil, whyWho},
	{"DenyUsers", nil, whyWho},
	{"DisableForwarding", no, "write AllowTcpForwarding no instead"},
	{"DSAAuthentication", always, whyGone},
	{"ExposeAuthInfo", always, whySession},
	{"FingerprintHash", []string{"sha256"}, "fingerprints are SHA256"},
	{"ForceCommand", none, whySession + "; write AllowTcpForwarding or PermitOpen for what may be opened"},
	{"GatewayPorts", no, "remote forwarding isn't served"},
	{"GSSAPIAuthentication", no, whyMethod},
	{"GSSAPICleanupCredentials", always, whyMethod},
	{"GSSAPICleanupCreds", always, whyMethod},
	{"GSSAPIDelegateCredentials", always, whyMethod},
	{"GSSAPIKexAlgorithms", always, whyMethod},
	{"GSSAPIKeyExchange", no, whyMethod},
	{"GSSAPIStoreCredentialsOnRekey", always, whyMethod},
	{"GSSAPIStrictAcceptorCheck", always, whyMethod},
	{"GSSAPIUseSessionCredCache", always, whyMethod},
	{"GSSUseSessionCCache", always, whyMethod},
	{"HostbasedAcceptedAlgorithms", always, whyMethod},
	{"HostbasedAcceptedKeyTypes", always, whyMethod},
	{"HostbasedAuthentication", no, whyMethod},
	{"HostbasedUsesNameFromPacketOnly", always, whyMethod},
	{"HostCertificate", nil, "clients that trust an authority would find no certificate"},
	{"HostDSAKey", nil, whyGone},
	{"HostKeyAgent", none, "private keys are read from files"},
	{"HostKeyAlgorithms", nil, whyAlgorithm},
	{"IgnoreRhosts", always, whyMethod},
	{"IgnoreUserKnownHosts", always, whyMethod},
	{"Include", nil, "what it brings in would be missing"},
	{"IPQoS", always, "the type of service isn't set"},
	{"KbdInteractiveAuthentication", no, whyMethod},
	{"KeepAlive", always, "TCP keepalive is always on"},
	{"KerberosAuthentication", no, whyMethod},
	{"KerberosGetAFSToken", always, whyMethod},
	{"KerberosOrLocalPasswd", always, whyMethod},
	{"KerberosTGTPassing", always, whyMethod},
	{"KerberosTicketCleanup", always, whyMethod},
	{"KexAlgorithms", nil, whyAlgorithm},
	{"KeyRegenerationInterval", always, whyGone},
	{"LogVerbose", always, "write LogLevel DEBUG instead"},
	{"MACs", nil, whyAlgorithm},
	{"ModuliFile", always, "group exchange isn't offered"},
	{"PAMAuthenticationViaKbdInt", always, whyGone},
	{"PerSourceMaxStartups", none, whyLimit},
	{"PerSourceNetBlockSize", nil, whyLimit},
	{"PerSourcePenalties", no, whyLimit},
	{"PerSourcePenaltyExemptList", always, "there are no PerSourcePenalties"},
	{"PermitBlacklistedKeys", always, whyGone},
	{"PermitEmptyPasswords", no, "there are no empty passwords"},
	{"PermitListen", none, "remote forwarding isn't served"},
	{"PermitRootLogin", nil, whyAccount + ", and root is a name like any other: give it no key and no password"},
	{"PermitTTY", no, whySession},
	{"PermitTunnel", no, "tunnel devices aren't served"},
	{"PermitUserEnvironment", no, whySession},
	{"PermitUserRC", always, whySession},
	{"PidFile", always, "no pid file is written"},
	{"PrintLastLog", always, whySession},
	{"PrintMotd", always, whySession},
	{"Protocol", []string{"2"}, "there is no other"},
	{"PubkeyAcceptedAlgorithms", nil, whyAlgorithm},
	{"PubkeyAcceptedKeyTypes", nil, whyAlgorithm},
	{"PubkeyAuthOptions", none, whyKeys},
	{"RDomain", none, "routing domains aren't used"},
	{"RefuseConnection", no, whyWho},
	{"RekeyLimit", nil, whyLimit},
	{"RequiredRSASize", nil, whyKeys},
	{"ReverseMappingCheck", always, whyGone},
	{"RevokedKeys", none, whyKeys},
	{"RhostsAuthentication", no, whyGone},
	{"RhostsRSAAuthentication", no, whyGone},
	{"RSAAuthentication", always, whyGone},
	{"SecurityKeyProvider", always, "signatures are checked without one"},
	{"ServerKeyBits", always, whyGone},
	{"SetEnv", always, whySession},
	{"SkeyAuthentication", no, whyGone},
	{"SshdAuthPath", always, whyProcess},
	{"SshdSessionPath", always, whyProcess},
	{"StreamLocalBindMask", always, "Unix sockets aren't forwarded"},
	{"StreamLocalBindUnlink", always, "Unix sockets aren't forwarded"},
	{"StrictModes", []string{"yes"}, "files with keys and passwords are always checked"},
	{"Subsystem", always, "subsystems aren't offered"},
	{"SyslogFacility", always, "logs go to stderr"},
	{"TCPKeepAlive", always, "TCP keepalive is always on"},
	{"TrustedUserCAKeys", none, whyKeys},
	{"UnusedConnectionTimeout", none, whyLimit},
	{"UseDNS", always, "names of clients aren't looked up"},
	{"UseLogin", always, whyGone},
	{"UsePAM", no, "PAM isn't asked"},
	{"UsePrivilegeSeparation", always, whyGone},
	{"VerifyReverseMapping", always, whyGone},
	{"VersionAddendum", none, "the version string can't be chosen"},
	{"X11DisplayOffset", always, whySession},
	{"X11Forwarding", no, whySession},
	{"X11UseLocalhost", always, whySession},
	{"XAuthLocation", always, whySession},
}
