package config

import (
	"errors"
	"slices"
	"strings"
)

// foreign is a keyword that OpenSSH has and culvertd doesn't serve.
type foreign struct {
	name  string
	where where
	// so are the values that say what is so here anyway; nothing is said of them. The first is what -T shows.
	so []string
	// strict is set if ignoring another value would let in whom it keeps out, or permit what it forbids: an error. Else it is a warning.
	strict bool
	why    string
}

// read reports what is to be said of a line; text is empty if it is nothing.
func (f *foreign) read(words []string) (text string, err error) {
	says := func(value string) bool { return len(words) == 1 && strings.EqualFold(words[0], value) }
	switch {
	case len(words) == 0:
		return "", errors.New("it has no value")
	case slices.ContainsFunc(f.so, says):
		return "", nil
	case f.strict:
		return "", errors.New("not served here: " + f.why)
	}
	return "it is ignored: " + f.why, nil
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
	no   = []string{"no"}
	none = []string{"none"}
)

const (
	whySession = "there are no shells, displays or environments here"
	whySocket  = "Unix sockets aren't forwarded"
	whyMethod  = "the method isn't offered"
	whyGone    = "OpenSSH itself has given it up"
	whyProcess = "it is about processes that aren't here"
)

// foreigns are the keywords of OpenSSH 10, and of Debian's, that aren't in keywords.
var foreigns = []foreign{
	{"AFSTokenPassing", outsideMatch, nil, false, whyGone},
	{"AllowAgentForwarding", anywhere, no, false, "agents aren't forwarded: no program here could use them"},
	{"AllowStreamLocalForwarding", anywhere, no, false, whySocket},
	{"AuthorizedKeysFile2", anywhere, nil, false, whyGone},
	{"CheckMail", outsideMatch, nil, false, whyGone},
	{"Compression", outsideMatch, no, false, "nothing is compressed"},
	{"DebianBanner", outsideMatch, no, false, "the version string doesn't name the distribution"},
	{"ExposeAuthInfo", anywhere, no, false, whySession},
	{"FingerprintHash", outsideMatch, []string{"SHA256"}, false, "fingerprints are SHA256"},
	{"GSSAPIAuthentication", anywhere, no, false, whyMethod},
	{"GSSAPICleanupCredentials", outsideMatch, nil, false, whyMethod},
	{"GSSAPICleanupCreds", outsideMatch, nil, false, whyMethod},
	{"GSSAPIDelegateCredentials", outsideMatch, nil, false, whyMethod},
	{"GSSAPIKexAlgorithms", outsideMatch, nil, false, whyMethod},
	{"GSSAPIKeyExchange", outsideMatch, no, false, whyMethod},
	{"GSSAPIStoreCredentialsOnRekey", outsideMatch, nil, false, whyMethod},
	{"GSSAPIStrictAcceptorCheck", outsideMatch, nil, false, whyMethod},
	{"GSSAPIUseSessionCredCache", outsideMatch, nil, false, whyMethod},
	{"GSSUseSessionCCache", outsideMatch, nil, false, whyMethod},
	{"HostbasedAcceptedAlgorithms", anywhere, nil, false, whyMethod},
	{"HostbasedAcceptedKeyTypes", anywhere, nil, false, whyMethod},
	{"HostbasedAuthentication", anywhere, no, false, whyMethod},
	{"HostbasedUsesNameFromPacketOnly", anywhere, no, false, whyMethod},
	{"IgnoreRhosts", anywhere, []string{"yes"}, false, whyMethod},
	{"IgnoreUserKnownHosts", outsideMatch, []string{"yes"}, false, whyMethod},
	{"IPQoS", anywhere, none, false, "the type of service isn't set"},
	{"KerberosAuthentication", anywhere, no, false, whyMethod},
	{"KerberosGetAFSToken", outsideMatch, no, false, whyMethod},
	{"KerberosOrLocalPasswd", outsideMatch, nil, false, whyMethod},
	{"KerberosTGTPassing", outsideMatch, nil, false, whyMethod},
	{"KerberosTicketCleanup", outsideMatch, nil, false, whyMethod},
	{"KeyRegenerationInterval", outsideMatch, nil, false, whyGone},
	{"LogVerbose", anywhere, none, false, "write LogLevel DEBUG instead"},
	{"ModuliFile", outsideMatch, nil, false, "the groups of a group exchange are the standard ones"},
	{"PAMAuthenticationViaKbdInt", outsideMatch, nil, false, whyGone},
	{"PAMServiceName", anywhere, nil, false, "PAM isn't asked"},
	{"PermitBlacklistedKeys", outsideMatch, nil, false, whyGone},
	{"PermitEmptyPasswords", anywhere, no, false, "there are no empty passwords"},
	{"PermitTunnel", anywhere, no, false, "tunnel devices aren't served"},
	{"PermitUserEnvironment", outsideMatch, no, false, whySession},
	{"PermitUserRC", anywhere, no, false, whySession},
	{"PrintLastLog", outsideMatch, no, false, whySession},
	{"PrintMotd", outsideMatch, no, false, whySession},
	{"Protocol", outsideMatch, []string{"2"}, false, "there is no other than 2"},
	{"RDomain", anywhere, none, true, "routing domains aren't used, so more would be reached than it lets"},
	{"RefuseConnection", anywhere, no, true, "ignoring it would let in whom it keeps out: write DenyUsers *"},
	{"ReverseMappingCheck", outsideMatch, nil, false, whyGone},
	{"RhostsAuthentication", outsideMatch, no, false, whyGone},
	{"RhostsRSAAuthentication", anywhere, no, false, whyGone},
	{"RSAAuthentication", anywhere, nil, false, whyGone},
	{"SecurityKeyProvider", outsideMatch, []string{"internal"}, false, "signatures are checked without one"},
	{"ServerKeyBits", outsideMatch, nil, false, whyGone},
	{"SetEnv", anywhere, nil, false, whySession},
	{"SshdAuthPath", outsideMatch, nil, false, whyProcess},
	{"SshdSessionPath", outsideMatch, nil, false, whyProcess},
	{"StreamLocalBindMask", anywhere, nil, false, whySocket},
	{"StreamLocalBindUnlink", anywhere, nil, false, whySocket},
	{"StrictModes", outsideMatch, []string{"yes"}, false, "files with keys and passwords are always checked"},
	{"SyslogFacility", outsideMatch, nil, false, "the log goes to stderr"},
	{"UseDNS", outsideMatch, no, false, "names of clients aren't looked up; a pattern of host names is compared with the address"},
	{"UseLogin", outsideMatch, nil, false, whyGone},
	{"UsePAM", outsideMatch, no, true, "PAM isn't asked, so whom its modules keep out would come in; accounts are the bastion's own: write UsePAM no"},
	{"UsePrivilegeSeparation", outsideMatch, nil, false, whyGone},
	{"VerifyReverseMapping", outsideMatch, nil, false, whyGone},
	{"X11DisplayOffset", anywhere, nil, false, whySession},
	{"X11Forwarding", anywhere, no, false, whySession},
	{"X11UseLocalhost", anywhere, nil, false, whySession},
	{"XAuthLocation", outsideMatch, nil, false, whySession},
}
