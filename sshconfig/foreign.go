package sshconfig

import (
	"errors"
	"fmt"
	"strings"
)

// foreign is a keyword that ssh(1) has.
type foreign struct {
	// so are the values, in lower case, that say what is so here anyway; nothing is said of them.
	so []string
	// strict is set if ignoring another value would lead elsewhere, or trust whom it distrusts: an error. Else a line of the log.
	strict bool
	why    string
}

// Foreign reports whether ssh(1) has a keyword.
func Foreign(keyword string) bool {
	_, ok := foreigns[strings.ToLower(keyword)]
	return ok
}

// Misplaced is the error of a keyword that ssh(1) has and the caller hasn't, where nobody else can have meant it.
func Misplaced(keyword string) error {
	why := foreigns[strings.ToLower(keyword)].why
	if why == "" {
		return errors.New("it is ssh's, and says nothing to culvert: leave it out")
	}
	return fmt.Errorf("it is ssh's, and says nothing to culvert (%s): leave it out", why)
}

var (
	no   = []string{"no", "false"}
	yes  = []string{"yes", "true"}
	none = []string{"none"}
)

const (
	whySession = "no session is opened"
	whyMaster  = "the connection is culvert's own: -S takes a master's"
	whyMethod  = "culvert doesn't have the method"
	whyScreen  = "there are no displays"
	whyGone    = "OpenSSH itself has given it up"
)

// synonyms are old names of keywords.
var synonyms = map[string]string{
	"challengeresponseauthentication": "KbdInteractiveAuthentication",
	"dsaauthentication":               "PubkeyAuthentication",
	"hostbasedkeytypes":               "HostbasedAcceptedAlgorithms",
	"identityfile2":                   "IdentityFile",
	"keepalive":                       "TCPKeepAlive",
	"protocolkeepalives":              "ServerAliveInterval", // Debian's
	"pubkeyacceptedkeytypes":          "PubkeyAcceptedAlgorithms",
	"rsaminsize":                      "RequiredRSASize", // Fedora's
	"setuptimeout":                    "ServerAliveInterval",
	"skeyauthentication":              "KbdInteractiveAuthentication",
	"smartcarddevice":                 "PKCS11Provider",
	"tisauthentication":               "KbdInteractiveAuthentication",
}

// foreigns are the keywords of OpenSSH 10, and of Debian's, Fedora's and Apple's, by their names in lower case, that package login hasn't. A keyword
// that another caller takes may be among them.
var foreigns = map[string]foreign{
	"afstokenpassing":                  {nil, false, whyGone},
	"channeltimeout":                   {none, false, "channels have no timeouts"},
	"checkhostip":                      {nil, false, "addresses aren't looked up beside names"},
	"cipher":                           {nil, false, whyGone},
	"clearallforwardings":              {no, false, "it is about tunnels"},
	"compression":                      {no, false, "nothing is compressed"},
	"compressionlevel":                 {nil, false, whyGone},
	"controlmaster":                    {no, false, whyMaster},
	"controlpath":                      {none, false, whyMaster},
	"controlpersist":                   {no, false, whyMaster},
	"dynamicforward":                   {nil, false, "it is about tunnels"},
	"enableescapecommandline":          {no, false, whySession},
	"enablesshkeysign":                 {no, false, whyMethod},
	"escapechar":                       {nil, false, whySession},
	"exitonforwardfailure":             {no, false, "it is about tunnels"},
	"fallbacktorsh":                    {nil, false, whyGone},
	"fingerprinthash":                  {[]string{"sha256"}, false, "fingerprints are SHA256"},
	"forkafterauthentication":          {no, false, "-f does that"},
	"forwardagent":                     {no, false, "agents aren't forwarded: no program at the other end is ours"},
	"forwardx11":                       {no, false, whyScreen},
	"forwardx11timeout":                {nil, false, whyScreen},
	"forwardx11trusted":                {nil, false, whyScreen},
	"gatewayports":                     {no, false, "it is about tunnels"},
	"globalknownhostsfile2":            {nil, false, whyGone},
	"gssapiauthentication":             {no, false, whyMethod},
	"gssapiclientidentity":             {nil, false, whyMethod},
	"gssapidelegatecredentials":        {no, false, whyMethod},
	"gssapikexalgorithms":              {nil, false, whyMethod},
	"gssapikeyexchange":                {no, false, whyMethod},
	"gssapirenewalforcesrekey":         {no, false, whyMethod},
	"gssapiserveridentity":             {nil, false, whyMethod},
	"gssapitrustdns":                   {no, false, whyMethod},
	"hostbasedacceptedalgorithms":      {nil, false, whyMethod},
	"hostbasedauthentication":          {no, false, whyMethod},
	"ipqos":                            {nil, false, "the type of service isn't set"},
	"kbdinteractivedevices":            {nil, false, "the server chooses"},
	"kerberosauthentication":           {no, false, whyGone},
	"kerberostgtpassing":               {no, false, whyGone},
	"knownhostscommand":                {none, true, "a command that says whom to trust may say whom not to"},
	"localcommand":                     {none, false, "no commands are run here"},
	"localforward":                     {nil, false, "it is about tunnels"},
	"loglevel":                         {nil, false, "it is for whoever asks"},
	"logverbose":                       {none, false, "-v says everything"},
	"nohostauthenticationforlocalhost": {nil, false, "host keys are always checked"},
	"obscurekeystroketiming":           {nil, false, whySession},
	"permitlocalcommand":               {no, false, "no commands are run here"},
	"permitremoteopen":                 {[]string{"any"}, false, "it is about tunnels"},
	"pkcs11provider":                   {none, false, "keys of a token are an agent's: ssh-add -s"},
	"protocol":                         {[]string{"2"}, false, whyGone},
	"proxyusefdpass":                   {no, true, "the command hands a socket over instead of data"},
	"refuseconnection":                 {nil, true, ""},
	"rekeylimit":                       {nil, false, "keys are exchanged when x/crypto/ssh finds it time"},
	"remotecommand":                    {none, false, whySession},
	"remoteforward":                    {nil, false, "it is about tunnels"},
	"requesttty":                       {nil, false, whySession},
	"rhostsauthentication":             {nil, false, whyGone},
	"rhostsrsaauthentication":          {nil, false, whyGone},
	"rsaauthentication":                {nil, false, whyGone},
	"securitykeyprovider":              {nil, false, "hardware keys are an agent's"},
	"sendenv":                          {nil, false, whySession},
	"sessiontype":                      {[]string{"none"}, false, whySession},
	"setenv":                           {nil, false, whySession},
	"stdinnull":                        {nil, false, "standard input is never read"},
	"streamlocalbindmask":              {nil, false, "it is about tunnels"},
	"streamlocalbindunlink":            {no, false, "it is about tunnels"},
	"syslogfacility":                   {nil, false, "the log goes to standard error"},
	"tcpkeepalive":                     {yes, false, "TCP always asks for signs of life"},
	"tunnel":                           {no, false, "tunnel devices aren't served"},
	"tunneldevice":                     {nil, false, "tunnel devices aren't served"},
	"usekeychain":                      {no, false, "there is no keychain: an agent may have one"},
	"useprivilegedport":                {no, false, whyGone},
	"userknownhostsfile2":              {nil, false, whyGone},
	"useroaming":                       {nil, false, whyGone},
	"usersh":                           {nil, false, whyGone},
	"verifyhostkeydns":                 {no, false, "host keys aren't looked up in the DNS, so unknown ones stay unknown"},
	"versionaddendum":                  {none, false, "the version string is short"},
	"visualhostkey":                    {no, false, "fingerprints are text"},
	"warnweakcrypto":                   {nil, false, "weak algorithms aren't offered"},
	"xauthlocation":                    {nil, false, whyScreen},
}
