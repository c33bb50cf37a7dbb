/* A successor that is published ahead: it becomes active on its day once the nodes have it, and a day later whatever
 * they have. Rotations while nodes are silent.
 *
 * Envelopes of a node are consumed in the order of their numbers, so that a count is its place: odd ones carry a pending
 * key, even ones promote it. Delays are unlimited; loss and reordering are in streams.pml.
 *
 * Checked:
 *   early      a node uses a key only after the issuer has promoted it
 *   promotes   every pending successor is promoted
 *   rotates    no silent node stops a rotation
 *   arrives    what is promoted becomes active on a node that is not silent
 */

#ifndef NODES
#define NODES 2
#endif
#ifndef GENERATIONS
#define GENERATIONS 2
#endif

#define DUE 1           /* its day has come */
#define LATE 2          /* and the longest wait is over */

byte generation, promoted, waited, issued, nodes;
bit pending, silent[NODES];
byte consumed[NODES], acked[NODES], uses[NODES];

/* What the nodes have acknowledged when the issuer looks at them one after the other. */
inline count(least) {
    i = 0; enough = 1;
    do
    :: i == NODES -> break
    :: else -> enough = enough && acked[i] >= least; i++
    od;
    i = 0
}

active proctype issuer() {
    byte i;
    bit enough;

    (nodes == NODES);       /* each has chosen whether it is silent */
    do
    :: atomic { generation < GENERATIONS && !pending ->
#ifdef FAULT_ONE_AT_A_TIME
        count(issued);
        if
        :: enough -> generation++; pending = 1; waited = 0; issued++
        :: else -> skip
        fi;
        enough = 0
#else
        generation++; pending = 1; waited = 0; issued++
#endif
      }
    :: atomic { pending && waited >= DUE ->
        count(issued);
        if
#ifdef FAULT_WAIT_FOREVER
        :: enough ->
#else
        :: enough || waited == LATE ->
#endif
            pending = 0; promoted = generation; issued++
        :: else -> skip
        fi;
        enough = 0
      }
    od
}

active proctype clock() {
    do
    :: atomic { pending && waited < LATE -> waited++ }
    od
}

active [NODES] proctype node() {
    byte me;

    atomic {
        me = nodes;
        if
        :: silent[me] = 1
        :: skip
        fi;
        nodes++
    }
    do
    :: atomic { !silent[me] && consumed[me] < issued ->
        consumed[me]++;
#ifdef FAULT_EARLY
        uses[me] = (consumed[me] + 1) / 2;
#else
        uses[me] = consumed[me] / 2;
#endif
        assert(uses[me] <= promoted)                      /* early */
      }
    :: atomic { !silent[me] && acked[me] < consumed[me] -> acked[me] = consumed[me] }
    od
}

ltl promotes { [] (pending -> <> !pending) }
ltl rotates { <> (generation == GENERATIONS) }
ltl arrives { <> (silent[0] || uses[0] == GENERATIONS) }
