package ftp

import "strings"

// ProxyOptions are what a [ProxyLogin] must know. The zero value serves.
type ProxyOptions struct {
	// User is the name that clients log in to the proxy with where they give both names at once: alice@User@ftp.corp, with a
	// password behind whose last @ the proxy's stands, or User@ftp.corp, with the server's USER to follow. If empty, both are users of the server.
	User string

	// Host and Port are the server, if it is known beforehand: then a client says no more than its name and password.
	Host string
	Port uint16

	// Password has the password asked for here, before the server is known to be there, so that it is among what the client means.
	Password bool
}

// Meant is what a client of a proxy means. It is the last effect there is. The driver connects to the server, and drives a [Session] whose
// Options.Said is Said, and whose client says first what [ProxyLogin.Rest] returns.
type Meant struct {
	Host string // a name or an address, without brackets
	Port uint16

	// User and Password are those that the client gave for the server. Both are empty if they are still to come, Password unless ProxyOptions.Password is set
	// or it had to be known.
	User, Password string

	// Said is what the server must be told. If it is empty, the client waits for the greeting.
	Said []string
}

func (Meant) effect() {}

// What a client may say before it is known which server it means.
const (
	// ftpPort is where an FTP server is if nobody says otherwise. RFC 959, section 5.2.
	ftpPort = 21
	// maxProxyCommands end the dialogue: no client needs more than ten.
	maxProxyCommands = 50
)

// Replies that are given in more than one place.
const (
	sendPassword = "331 Password, please"
	whichServer  = "say which FTP server: log in as user@host[:port], or say OPEN host[:port]"
	userFirst    = "503 Log in with USER first"
)

// A ProxyLogin is the beginning of a control connection to a proxy, up to where it is known which server the client means. There is no
// standard of how a client says it, so that all the ways that clients know are understood:
//
//	USER alice@ftp.corp            with :port, or SP port, behind it
//	USER name, PASS, and then      as above, or one of the next two
//	OPEN ftp.corp                  and then USER alice, which the server hears
//	SITE ftp.corp                  the same
//	USER alice@name@ftp.corp       and PASS secret@password, if name is ProxyOptions.User
//	USER name@ftp.corp, PASS       and then USER alice, if name is ProxyOptions.User
//	USER alice@ftp.corp name       and PASS secret, ACCT password
//	CWD ftp://alice:secret@ftp.corp/d   as programs do that take a proxy for HTTP's
//
// The name and the password that are for the proxy go nowhere: who may use a proxy is its driver's matter.
//
// Its methods return what the driver must do, of which there are ToClient, Note, Close and Meant. They must not be called concurrently. The
// effects depend on the bytes alone, never on how they were cut into calls.
type ProxyLogin struct {
	opt   ProxyOptions
	out   []Effect
	ended bool // by a Close or a Meant
	rest  []byte

	client   commandReader
	badLines int
	commands int

	meant  Meant // as far as it is known
	named  bool  // the client names the server where it names the user
	awaits awaited
	notes  int
}

// awaited is what the client says next, if it goes on as it has begun.
type awaited int

const (
	awaitsServer        awaited = iota // USER with a host, OPEN, SITE
	awaitsProxyPassword                // PASS, which is for the proxy
	awaitsUser                         // USER, as the server is known
	awaitsUserBehind                   // PASS for the proxy, and then USER
	awaitsPassword                     // PASS, which is for the server
	awaitsJoined                       // PASS for both
	awaitsAccounted                    // PASS, and ACCT for the proxy
	awaitsAccount                      // ACCT for the proxy
)

// NewProxyLogin returns the state of a control connection on which nothing has been said yet.
func NewProxyLogin(o ProxyOptions) *ProxyLogin { return &ProxyLogin{opt: o} }

// Greet returns the first effects.
func (p *ProxyLogin) Greet() []Effect {
	p.say("220 culvert: " + p.todo())
	return p.take()
}

// todo is what the client should do.
func (p *ProxyLogin) todo() string {
	if p.opt.Host != "" {
		return "log in"
	}
	return whichServer
}

// FromClient takes bytes from the client.
func (p *ProxyLogin) FromClient(data []byte) []Effect {
	for i, b := range data {
		if p.ended {
			p.rest = append(p.rest, data[i:]...)
			break
		}
		p.clientByte(b)
	}
	return p.take()
}

// Rest returns what was fed behind what it took to know the server: it is for that.
func (p *ProxyLogin) Rest() []byte { return p.rest }

func (p *ProxyLogin) take() []Effect {
	out := p.out
	p.out = nil
	return out
}

func (p *ProxyLogin) say(line string) { p.out = append(p.out, ToClient{appendLine(nil, line)}) }

func (p *ProxyLogin) close(reason string) {
	p.out = append(p.out, Close{reason})
	p.ended = true
}

// note notes, but not without an end.
func (p *ProxyLogin) note(k NoteKind, text string) {
	if p.notes++; p.notes <= maxNotes {
		p.out = append(p.out, Note{k, text})
	}
}

func (p *ProxyLogin) clientByte(b byte) {
	r := &p.client
	text, removed := r.telnet.next(b)
	if removed != nil {
		p.note(NoteTelnet, telnetNote("client", removed))
	}
	if !text {
		return
	}
	end := r.next(b)
	if end == lineTooLong {
		p.say("500 Line too long")
		p.close("a command of the client is too long")
		return
	}
	if name := r.foreign(end); name != "" {
		p.close("the client speaks " + name + ", not FTP")
		return
	}
	switch end {
	case lineBad:
		p.badLine()
	case lineEnded:
		if len(r.line) > 0 {
			p.command(parseCommand(r.line))
		}
		r.reset()
	}
}

// badLine answers a line with a byte in it that has no place there.
func (p *ProxyLogin) badLine() {
	p.say("500 Bad line terminator")
	if p.badLines++; p.badLines >= maxBadLines {
		p.close("command lines of the client had bytes in them that have no place there")
	}
	if p.client.cr {
		p.client.reset()
	} else {
		p.client.resume()
	}
}

// command answers a command, or knows what the client means by it.
func (p *ProxyLogin) command(c command) {
	if p.commands++; p.commands > maxProxyCommands {
		p.say("421 Too many commands without an FTP server, closing the connection")
		p.close("the client said too much without naming an FTP server")
		return
	}
	if c.refusal != "" {
		p.say(c.refusal)
		return
	}
	switch c.verb {
	case "USER":
		p.user(c.arg())
	case "PASS":
		p.password(c.arg())
	case "ACCT":
		p.account()
	case "OPEN", "SITE":
		if p.opt.Host == "" {
			p.open(c)
			return
		}
		p.nobody()
	case "CWD":
		if p.opt.Host == "" {
			p.url(c)
			return
		}
		p.nobody()
	case "NOOP":
		p.say("200 Here I am: " + p.todo())
	case "QUIT":
		p.say("221 Goodbye")
		p.close("the client left before it had named an FTP server")
	case "AUTH", "ADAT", "PBSZ", "PROT", "CCC":
		p.say("502 " + c.verb + " is not offered here, as what leaves this machine is inside SSH: go on without TLS")
	case "HOST":
		p.say("502 HOST is not offered here: " + p.todo())
	default:
		p.nobody()
	}
}

// nobody says that what the client wants comes too early.
func (p *ProxyLogin) nobody() { p.say("530 Nobody is logged in: " + p.todo()) }

// user takes USER, in whichever form.
func (p *ProxyLogin) user(arg string) {
	if p.awaits == awaitsUser && !strings.Contains(arg, "@") {
		p.knows(arg)
		return
	}
	if p.opt.Host != "" {
		p.meant = Meant{Host: p.opt.Host, Port: p.opt.Port}
		p.knows(arg)
		return
	}
	n, err := parseProxyUser(arg)
	switch {
	case err != nil:
		p.say("501 " + err.Error())
		return
	case n.host == "": // the server is to come
		p.meant, p.awaits = Meant{}, awaitsProxyPassword
		p.say("331 Password for the proxy, if you have one")
		return
	}
	p.meant, p.named = Meant{Host: n.host, Port: n.port}, true
	joined, isJoined := "", false
	if p.opt.User != "" {
		joined, isJoined = strings.CutSuffix(n.user, "@"+p.opt.User)
	}
	switch {
	case p.opt.User != "" && n.user == p.opt.User:
		p.awaits, p.named = awaitsUserBehind, false
		p.say("331 Password for the proxy, if you have one")
	case isJoined && joined != "":
		p.meant.User, p.awaits = joined, awaitsJoined
		p.say(sendPassword)
	case n.proxy != "":
		p.meant.User, p.awaits = n.user, awaitsAccounted
		p.say(sendPassword)
	default:
		p.knows(n.user)
	}
}

// knows knows the server and the user.
func (p *ProxyLogin) knows(user string) {
	if user == "" {
		p.say("501 USER takes a name")
		return
	}
	p.meant.User = user
	if p.opt.Password {
		p.awaits = awaitsPassword
		p.say(sendPassword)
		return
	}
	p.mean("USER " + user)
}

// password takes PASS, which is whose it is by what came before.
func (p *ProxyLogin) password(arg string) {
	switch p.awaits {
	case awaitsProxyPassword:
		p.awaits = awaitsServer
		p.say("230 Now " + whichServer)
	case awaitsUserBehind:
		p.awaits = awaitsUser
		p.say("230 Now log in to the FTP server")
	case awaitsPassword:
		p.loggedIn(arg)
	case awaitsJoined:
		i := strings.LastIndexByte(arg, '@')
		if i < 0 {
			p.say("530 The password must be followed by @ and that for the proxy")
			return
		}
		p.loggedIn(arg[:i])
	case awaitsAccounted:
		p.meant.Password, p.awaits = arg, awaitsAccount
		p.say("332 Account, please: the password for the proxy")
	default:
		p.say(userFirst)
	}
}

// account takes ACCT, which is for the proxy.
func (p *ProxyLogin) account() {
	switch p.awaits {
	case awaitsAccount:
		p.loggedIn(p.meant.Password)
	case awaitsServer:
		p.say("202 No account is needed, " + whichServer)
	default:
		p.say(userFirst)
	}
}

// loggedIn knows the server, the user and the password.
func (p *ProxyLogin) loggedIn(password string) {
	p.meant.Password = password
	p.mean("USER "+p.meant.User, "PASS "+password)
}

// open takes OPEN and SITE. The server's greeting is the reply.
func (p *ProxyLogin) open(c command) {
	host, port, err := parseServer(c.arg())
	if err != nil {
		p.say("501 " + err.Error())
		return
	}
	p.meant, p.named = Meant{Host: host, Port: port}, false
	if p.opt.Password {
		p.awaits = awaitsUser
		p.say("220 Now log in to the FTP server")
		return
	}
	p.mean()
}

// url takes a CWD to a URL. Python's urllib does so: to a proxy it is logged in already, as it asks that for a file as it would ask a proxy of HTTP's.
func (p *ProxyLogin) url(c command) {
	u, ok, err := parseURL(c.arg())
	switch {
	case !ok:
		p.nobody()
		return
	case err != nil:
		p.say("501 " + err.Error())
		return
	}
	p.meant, p.named = Meant{Host: u.host, Port: u.port, User: u.user, Password: u.password}, false
	said := []string{"USER " + u.user, "PASS " + u.password}
	if u.directory != "" {
		said = append(said, "CWD "+u.directory)
	}
	p.mean(said...)
}

// mean ends the dialogue.
func (p *ProxyLogin) mean(said ...string) {
	p.meant.Said = said
	p.out = append(p.out, p.meant)
	p.ended = true
}
