/* Streams, challenges and audit heads between an issuer and one of its nodes, over a carrier that loses, repeats,
 * reorders and keeps lines. The machine of the node and the keystore of the issuer are put back to older states.
 *
 * One step is one transaction or one crossing of the carrier. A line that was sent stays in the carrier: any later step
 * may read it, again too, and a line that is never read is lost. The carrier also keeps one acknowledgement, and shows
 * the node any challenge that was sent. Time is an age in days, which is counted to 2.
 *
 * Checked after every step:
 *   used       a revoked key is not used after its revocation was taken in, except between the node's going back and
 *              its being past the place where it was before
 *   ok         the issuer shows ok only for a node that held every revocation at some time of the last day
 *   scope      nothing outside the scope of an issuer is accepted
 *
 * A macro FAULT_... removes one rule, and a check must then fail; tests/model/check.py lists them. Not modelled:
 * numbers of lists, which ascend with the places; epochs; expiry.
 */

#ifndef BACKS
#define BACKS 1         /* how often the node goes back */
#endif
#ifndef SAVES
#define SAVES 1         /* states of the node that can be put back */
#endif
#ifndef ISSUER_BACKS
#define ISSUER_BACKS 0  /* how often the issuer's keystore is put back without a restore */
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef DELAYS
#define DELAYS 1        /* acknowledgements that the carrier keeps, to deliver them later and again */
#endif

#define STREAMS (BACKS + 2)
#ifndef NUMBERS
#define NUMBERS 3       /* envelopes of a stream */
#endif
#define ITEMS (STREAMS * NUMBERS)
#define HISTORIES (ISSUER_BACKS + 1)
#define OLD 2           /* an age of more than a day */

#define KEY 1           /* the successor, key 2 */
#define LIST 2
#define REVOKE1 4       /* with LIST: the list revokes key 1 */
#define REVOKE2 8
#define VOID 16         /* in place of a key that was revoked before it was sealed */

#define LATER(s, n, t, m) ((s) > (t) || ((s) == (t) && (n) > (m)))
#define AT(s, n) (((s) - 1) * NUMBERS + (n) - 1)
#define WAY(h, s, n) ((h) * ITEMS + AT(s, n))

typedef Item { byte kind; byte size };                  /* `size` of the audit log that its envelope vouches for */
typedef Sent { byte kind; byte size; bit asitis; bit emptied; byte first };
typedef Ack { bit is; byte stream; byte number; byte size; bit history; byte challenge; byte age };
typedef Node { byte stream; byte number; byte size; bit history; bit has2; bit revoked1; bit revoked2 };
typedef Issuer {
    byte size; byte round; bit rotated; bit revoked1; bit revoked2;
    byte stream; byte issued; byte acked; byte held;    /* `held`: the size of the head that the node holds */
    byte fromstream; byte fromnumber;                   /* the place behind which the stream begins */
    byte answered; byte heard; bit conflict;
    Item item[ITEMS]
};

Issuer issuer;
Node node, saved[SAVES];
Sent sent[HISTORIES * ITEMS];                           /* what is in the carrier; `first`: proofs begin at these sizes */
Ack kept, ack;
byte age[ROUNDS + 1], saves, backs;
#if ISSUER_BACKS
Issuer issuersaved;
bit issuerhassaved, issuerwentback;
byte fork;                                              /* the size up to which both histories agree */
#define HISTORY(at) ((at) > fork && issuerwentback -> 1 : 0)
#else
#define HISTORY(at) 0
#endif

/* What really is. No rule reads it. */
bit taken1, taken2, isback, beforehistory, foreign, everrevoked1;
byte beforestream, beforenumber, without1 = OLD, without2 = OLD;

/* The node held every revocation at some time of the last day. */
#define HELD ((!issuer.revoked1 || without1 < OLD) && (!issuer.revoked2 || without2 < OLD))
#ifdef FAULT_OK_FOREVER
#define YOUNG true
#else
#define YOUNG (issuer.heard < OLD)
#endif
#define SHOWS_OK (issuer.issued && issuer.acked == issuer.issued && !issuer.conflict && issuer.answered && YOUNG)

byte i, n, s, kind, previous, lacking;
bit isnewer;

inline check() {
    without1 = (node.revoked1 -> 0 : without1);
    without2 = (node.revoked2 -> 0 : without2);
    isback = isback && (LATER(beforestream, beforenumber, node.stream, node.number) || node.history != beforehistory);
    beforestream = (isback -> beforestream : 0); beforenumber = (isback -> beforenumber : 0);
    beforehistory = isback && beforehistory;
    assert(!SHOWS_OK || HELD);                                           /* ok */
    assert(!foreign && (!node.revoked1 || everrevoked1))                /* scope */
}

inline queue(what) {
    issuer.issued++;
    issuer.item[AT(issuer.stream, issuer.issued)].kind = what;
    issuer.item[AT(issuer.stream, issuer.issued)].size = issuer.size
}

/* The next stream carries what lies behind the place that the node named, lists first. */
inline begin_stream() {
    printf("stream %d begins behind %d.%d\n", issuer.stream + 1, ack.stream, ack.number);
    lacking = 0;
    for (s : 1 .. STREAMS) {
        for (n : 1 .. NUMBERS) {
            lacking = lacking | (LATER(s, n, ack.stream, ack.number) -> issuer.item[AT(s, n)].kind : 0)
        }
    }
    issuer.size++;
    issuer.stream++; issuer.issued = 0; issuer.acked = 0; issuer.held = ack.size;
    issuer.fromstream = ack.stream; issuer.fromnumber = ack.number;
#ifdef FAULT_KEYS_FIRST
    if
    :: lacking & KEY -> queue(KEY)
    :: else
    fi;
#endif
#ifdef FAULT_REVOKED_ONCE
    queue(LIST);
#else
    queue(LIST | (lacking & (REVOKE1 | REVOKE2)));
#endif
#ifndef FAULT_KEYS_FIRST
    if
    :: lacking & KEY -> queue(KEY)
    :: else
    fi
#endif
}

#ifdef FAULT_NO_CHALLENGE
#define IS_OUTDATED false
#else
#define IS_OUTDATED (issuer.answered && IS_EARLIER)
#endif
/* A round that the issuer has forgotten is sent again under its number, but at a later time. */
#ifdef FAULT_ROUND_ONLY
#define IS_LATER (ack.challenge > issuer.answered)
#define IS_EARLIER (ack.challenge < issuer.answered)
#else
#define IS_LATER (ack.challenge > issuer.answered || (ack.challenge == issuer.answered && ack.age < issuer.heard))
#define IS_EARLIER (ack.challenge < issuer.answered || (ack.challenge == issuer.answered && ack.age > issuer.heard))
#endif
#ifdef FAULT_NO_HEAD
#define CONTRADICTS LATER(ack.stream, ack.number, issuer.stream, issuer.issued)
#else
#define CONTRADICTS (LATER(ack.stream, ack.number, issuer.stream, issuer.issued) || ack.challenge > issuer.round || \
                     ack.size > issuer.size || (ack.size && ack.history != HISTORY(ack.size)))
#endif
#define IS_BEHIND LATER(issuer.stream, issuer.acked, ack.stream, ack.number)
/* The stream that the node has not begun carries all that it lacks. */
#ifdef FAULT_BACK_ONCE
#define REACHES true
#else
#define REACHES (!LATER(issuer.fromstream, issuer.fromnumber, ack.stream, ack.number))
#endif
#ifdef FAULT_NEVER_BACK
#define WENT_BACK false
#else
#ifdef FAULT_BACK_ONCE
#define WENT_BACK (isnewer && issuer.acked && IS_BEHIND)
#else
#define WENT_BACK (isnewer && (issuer.acked -> IS_BEHIND : !REACHES))
#endif
#endif

inline collect() {
    isnewer = ack.challenge && IS_LATER;
    if
    :: IS_OUTDATED -> skip
    :: else -> if
        :: CONTRADICTS -> issuer.conflict = 1
        :: else ->
            issuer.conflict = 0;
#ifdef FAULT_NO_CHALLENGE
            issuer.answered = 1; issuer.heard = 0;
#else
            issuer.answered = (ack.challenge -> ack.challenge : issuer.answered);
            issuer.heard = (ack.challenge -> ack.age : issuer.heard);
#endif
            if
            :: WENT_BACK && issuer.stream < STREAMS -> begin_stream()
            :: else -> if
                :: ack.stream == issuer.stream && ack.number >= issuer.acked && ack.number ->
                    issuer.acked = ack.number; issuer.held = ack.size
                :: IS_BEHIND && !issuer.acked && REACHES -> issuer.held = ack.size
                :: else
                fi
            fi
        fi
    fi
}

/* Seals what the node lacks, as it is now. */
inline send() {
    previous = issuer.held;
    for (n : issuer.acked + 1 .. issuer.issued) {
        i = WAY(HISTORY(issuer.item[AT(issuer.stream, n)].size), issuer.stream, n);
        sent[i].kind = issuer.item[AT(issuer.stream, n)].kind;
        sent[i].size = issuer.item[AT(issuer.stream, n)].size;
        if
        :: sent[i].kind == KEY && issuer.revoked2 -> sent[i].emptied = 1
        :: else -> sent[i].asitis = 1
        fi;
        sent[i].first = sent[i].first | (1 << previous);
        previous = sent[i].size
    }
}

/* A node takes the next envelope of its stream, or the first one of a later stream, with a proof from its own head. */
#define IS_NEXT(h, s, n) ((node.stream == (s) && node.number + 1 == (n)) || (node.stream < (s) && (n) == 1))
#ifdef FAULT_NO_HEAD
#define PROVES(h, s, n) true
#else
#ifdef FAULT_NO_PROOF
#define PROVES(h, s, n) (node.stream < (s) || (sent[WAY(h, s, n)].first & (1 << node.size)))
#else
#if ISSUER_BACKS
#define SAME_PAST(h) (node.history == (h) || (!node.history && node.size <= fork))
#else
#define SAME_PAST(h) true
#endif
#define PROVES(h, s, n) ((sent[WAY(h, s, n)].first & (1 << node.size)) && SAME_PAST(h))
#endif
#endif

inline consume(h, ofstream, ofnumber, what) {
    printf("the node takes %d.%d of history %d: %d\n", ofstream, ofnumber, h, what);
    kind = what;
    node.stream = ofstream; node.number = ofnumber;
    node.size = sent[WAY(h, ofstream, ofnumber)].size; node.history = h;
#ifdef FAULT_LIST_REPLACES
    node.revoked1 = (kind & LIST -> 0 : node.revoked1);
#endif
    node.revoked1 = node.revoked1 || (kind & REVOKE1); taken1 = taken1 || (kind & REVOKE1);
    node.revoked2 = node.revoked2 || (kind & REVOKE2); taken2 = taken2 || (kind & REVOKE2);
    node.has2 = node.has2 || (kind & KEY);
    kind = 0
}

inline answer(to, which) {
    printf("the node at %d.%d answers challenge %d\n", node.stream, node.number, which);
    to.is = 1; to.stream = node.stream; to.number = node.number; to.size = node.size; to.history = node.history;
    to.challenge = which; to.age = age[which]
}

inline copy_ack(to, from) {
    to.is = from.is; to.stream = from.stream; to.number = from.number; to.size = from.size; to.history = from.history;
    to.challenge = from.challenge; to.age = from.age
}

inline forget() {
    ack.is = 0; ack.stream = 0; ack.number = 0; ack.size = 0; ack.history = 0; ack.challenge = 0; ack.age = 0;
    i = 0; n = 0; s = 0; previous = 0; lacking = 0; isnewer = 0
}

inline copy_node(to, from) {
    to.stream = from.stream; to.number = from.number; to.size = from.size; to.history = from.history;
    to.has2 = from.has2; to.revoked1 = from.revoked1; to.revoked2 = from.revoked2
}

inline put_back(to) {
    printf("the node goes back to %d.%d\n", to.stream, to.number);
    if
    :: !isback && LATER(node.stream, node.number, to.stream, to.number) ->
        isback = 1; beforestream = node.stream; beforenumber = node.number; beforehistory = node.history
    :: else
    fi;
    copy_node(node, to);
    backs++
}

inline copy_issuer(to, from) {
    to.size = from.size; to.round = from.round; to.rotated = from.rotated; to.revoked1 = from.revoked1;
    to.revoked2 = from.revoked2; to.stream = from.stream; to.issued = from.issued; to.acked = from.acked;
    to.held = from.held; to.fromstream = from.fromstream; to.fromnumber = from.fromnumber;
    to.answered = from.answered; to.heard = from.heard; to.conflict = from.conflict;
    for (i : 0 .. ITEMS - 1) {
        to.item[i].kind = from.item[i].kind; to.item[i].size = from.item[i].size
    }
    i = 0
}

inline older(what) {
    what = (what < OLD -> what + 1 : what)
}

#define TAKE(h, s, n) \
    :: d_step { sent[WAY(h, s, n)].asitis && IS_NEXT(h, s, n) && PROVES(h, s, n) -> \
        consume(h, s, n, sent[WAY(h, s, n)].kind); check() } \
    :: d_step { sent[WAY(h, s, n)].emptied && IS_NEXT(h, s, n) && PROVES(h, s, n) -> consume(h, s, n, VOID); check() }
#if NUMBERS > 3
#define TAKE_STREAM(h, s) TAKE(h, s, 1) TAKE(h, s, 2) TAKE(h, s, 3) TAKE(h, s, 4)
#else
#define TAKE_STREAM(h, s) TAKE(h, s, 1) TAKE(h, s, 2) TAKE(h, s, 3)
#endif
/* The carrier may show the node an older challenge than the newest; 0 is none. It delivers the answer, or keeps it. */
#define ANSWER(to) \
    :: d_step { to <= issuer.round -> answer(ack, to); printf("delivered\n"); collect(); forget(); check() } \
    :: d_step { DELAYS && to <= issuer.round && !kept.is -> answer(kept, to); printf("kept\n") }
#define PUT_BACK(at) :: d_step { at < saves && backs < BACKS -> put_back(saved[at]); check() }

active proctype fleet() {
    d_step { issuer.stream = 1; node.stream = 1 }
    do
    /* The issuer. */
    :: d_step { !issuer.rotated && issuer.issued < NUMBERS ->
        printf("rotate\n"); issuer.rotated = 1; issuer.size++; queue(KEY); check() }
    :: d_step { !issuer.revoked1 && issuer.issued < NUMBERS ->
        printf("revoke\n"); issuer.revoked1 = 1; everrevoked1 = 1; issuer.size++; queue(LIST | REVOKE1); check() }
#ifdef SECOND
    :: d_step { issuer.rotated && !issuer.revoked2 && issuer.issued < NUMBERS ->
        printf("revoke the successor\n"); issuer.revoked2 = 1; issuer.size++; queue(LIST | REVOKE2); check() }
#endif
    :: d_step { issuer.round < ROUNDS && issuer.issued ->
        issuer.round++; printf("send round %d\n", issuer.round); age[issuer.round] = 0; send(); forget(); check() }
    :: d_step { kept.is -> printf("deliver what was kept\n"); copy_ack(ack, kept); collect(); forget(); check() }
    /* The node. */
    TAKE_STREAM(0, 1)
    TAKE_STREAM(0, 2)
#if BACKS
    TAKE_STREAM(0, 3)
#if BACKS > 1
    TAKE_STREAM(0, 4)
#endif
#endif
#if ISSUER_BACKS
    TAKE_STREAM(1, 1)
    TAKE_STREAM(1, 2)
#if BACKS
    TAKE_STREAM(1, 3)
#endif
#endif
    ANSWER(0) ANSWER(1)
#if ROUNDS > 1
    ANSWER(2)
#endif
#if ROUNDS > 2
    ANSWER(3)
#endif
#if ROUNDS > 3
    ANSWER(4)
#endif
    :: d_step { taken1 && !node.revoked1 -> assert(isback) }            /* used */
    :: d_step { taken2 && node.has2 && !node.revoked2 -> assert(isback) }
    /* An issuer of another scope sends a key of this one's model, or a list that revokes its key. */
#ifdef FAULT_NO_SCOPE
    :: d_step { !foreign -> foreign = 1; check() }
    :: d_step { !node.revoked1 -> node.revoked1 = 1; check() }
#endif
    /* The world. */
    :: d_step { issuer.heard < OLD || without1 < OLD || without2 < OLD -> printf("a day\n");
        older(issuer.heard); older(without1); older(without2); older(kept.age);
#if ISSUER_BACKS
        older(issuersaved.heard);
#endif
        for (i : 1 .. ROUNDS) { older(age[i]) }
        i = 0; check() }
    :: d_step { kept.is -> printf("lose what was kept\n"); copy_ack(kept, ack) }
    :: d_step { saves < SAVES -> printf("save the node\n"); copy_node(saved[saves], node); saves++ }
    PUT_BACK(0)
#if SAVES > 1
    PUT_BACK(1)
#endif
#if ISSUER_BACKS
    :: d_step { !issuerhassaved -> printf("save the issuer\n"); copy_issuer(issuersaved, issuer); issuerhassaved = 1 }
    :: d_step { issuerhassaved && !issuerwentback -> printf("the issuer goes back\n");
        fork = issuersaved.size; copy_issuer(issuer, issuersaved); issuerwentback = 1; check() }
#endif
    od
}
