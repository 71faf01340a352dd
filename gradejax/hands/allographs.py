"""The ways in which people write each character of a grade, as plans for the pen.

An *allograph* is one such way: an A open at the top, a B whose bowls do not reach the stem. Here each is a pair: how
common it is among those of its character, and its plan. In a plan, ` | ` parts the strokes (pen down to pen up), and a
stroke is the places that the pen makes for, one after another: `x,y` or `x,y,bend`. Lengths are in heights of a
capital; x runs to the right from the letter's left edge and y **down** from its top. `bend` is by how many degrees
the pen turns on its way to that place, clockwise as one looks at it: left out for a straight line, 90 for a quarter
of a circle, -180 for half of one the other way round. Joints are written as corners and arcs; it is the hand that
rounds them (`gradejax.hands.synthetic`).
"""

import numpy as np
from jaxtyping import Float

Targets = Float[np.ndarray, "targets 3"]
"""A stroke as the pen plans it: x, y and bend of the places it makes for."""

Form = list[Targets]
"""A character's strokes."""


def plan_strokes(plan: str) -> Form:
    """A plan's strokes; the bend of each stroke's first target means nothing."""
    return [
        np.array([(*map(float, target.split(",")), 0.0)[:3] for target in stroke.split()]) for stroke in plan.split("|")
    ]


ALLOGRAPHS: dict[str, tuple[tuple[float, str], ...]] = {
    "A": (
        # two legs from the top, bar
        (5, ".42,0 0,1 | .42,0 .8,1 | .14,.65 .68,.65"),
        # up and down in one, bar
        (5, "0,1 .42,0 .8,1 | .14,.65 .68,.65"),
        # the same, narrow, the right leg bent
        (2, "0,1 .36,0,8 .6,1,14 | .1,.6 .56,.58"),
        # the bar sticks out, on one side or on both
        (2, ".42,0 0,1 | .42,0 .78,1 | -.08,.66 .95,.62"),
        (2, "0,1 .42,0 .75,1 | .12,.64 1,.6,10"),
        (1, "0,1 .42,0 .75,1 | -.2,.68 .62,.62"),
        # open at the top
        (1, ".4,0 0,1 | .47,.02 .83,1 | .14,.64 .74,.64"),
        # a round top
        (2, "0,1 .1,.3,10 .38,0,70 .62,.3,70 .72,1,5 | .06,.6 .68,.6"),
        # a flat top
        (1, ".05,1 .12,.02 .6,0,10 .72,1,10 | .1,.55 .66,.55"),
        # down, an arch from the top to the right foot, bar
        (1, ".05,.05 0,1 | .04,.3 .36,0,80 .64,.4,70 .66,1,0 | .02,.58 .62,.55"),
        # down and back up the left leg, then the right one
        (2, ".4,0 .02,1 .42,.02,4 .78,1 | .15,.64 .7,.62"),
        # in one: from the right foot through a loop at the left into the bar
        (0.5, "0,1 .42,0 .78,1 .12,.78,20 .2,.6,150 .74,.6,20"),
        (1, "0,1 .4,0 .76,1 .14,.64,15 .66,.62,-10"),
        # in one: from the right foot back across both legs to the left
        (1, "-.1,.95 .1,.9,-10 .62,.02,-30 .62,.9,10 .4,.72,110 -.14,.5,-20"),
        (0.8, "0,1 .42,0,-10 .7,1 .56,.7,90 0,.62,-10"),
        # a steep right side, the left leg in two
        (1.5, "0,1 .4,.25,0 .68,0,15 .68,1 | .22,.62 .68,.6"),
        # wide, the bar low
        (1, ".45,0 0,1 | .45,0 .95,1 | .08,.78 .88,.76"),
        # the bar sticks out far to the right
        (1, ".42,0 0,1 | .42,0 .8,1 | .16,.66 1.08,.62"),
        # the bar touches neither leg, climbs, is high
        (0.8, ".42,0 0,1 | .42,0 .82,1 | .27,.68 .57,.67"),
        (0.7, ".42,0 0,1 | .42,0 .8,1 | .06,.8 .72,.52"),
        (0.6, "0,1 .42,0 .8,1 | .2,.48 .64,.46"),
        # legs that do not meet
        (0.7, ".38,.02 0,1 | .48,0 .84,1 | .12,.63 .76,.62"),
        # an arch with a bar
        (1, "0,1 0,.36 .33,0,90 .66,.36,90 .66,1 | 0,.58 .66,.56"),
        # from the right foot straight into the bar
        (0.5, "0,1 .42,0 .8,1 .14,.6 .8,.64"),
        # a mere dot for a bar
        (0.5, "0,1 .4,0 .8,1 | .4,.66 .42,.67"),
        # the bar begins between the legs and sticks out to the right
        (0.6, ".42,0 0,1 | .42,0 .8,1 | .36,.66 1.06,.6"),
        # cursive: like a tall a
        (0.4, ".6,.14 .34,0,-60 0,.62,-80 .22,1,-100 .6,.5,-40 .64,.04 .66,.9 .8,.97,-60"),
        # lower case, with and without a roof
        (0.3, ".5,.52 .26,.4,-60 0,.7,-90 .22,1,-90 .48,.74,-60 .52,.44 .53,.94 .64,1,-40"),
        (0.15, ".06,.5 .28,.38,50 .5,.62,80 .5,1 | .48,.66 .22,.66,-20 0,.84,-90 .22,1,-90 .5,.86,-50"),
    ),
    "B": (
        # stem, then both bowls
        (6, ".02,0 0,1 | 0,.02 .33,0,10 .33,.46,180 .06,.48 .4,.5,10 .4,1,180 0,1"),
        # down, back up, both bowls: one stroke
        (4, ".02,.02 0,1 .03,.08,-4 .35,.02,60 .35,.46,170 .09,.5 .42,.54,30 .4,.98,170 0,.98,10"),
        # from the foot up and over
        (1.5, "0,1 .06,.1 .33,0,70 .33,.46,160 .11,.5 .46,.6,50 .33,.98,150 0,.96,20"),
        # bowls that begin and end left of the stem
        (3, ".13,.03 .11,.97 | -.13,.12 .22,0,40 .35,.44,170 .13,.47 .4,.54,40 .33,.98,150 -.15,.98,30"),
        (1.5, ".17,.05 .09,.95 | -.17,.3 .17,0,80 .55,.2,90 .2,.47,70 .57,.72,110 .22,1,90 -.13,.92,40"),
        # a 3 beside a stem, not touching it
        (2, "0,.02 0,1 | .09,.06 .33,.02,40 .33,.46,170 .15,.48 .4,.54,40 .35,.98,160 .09,.95,30"),
        # a loop at the waist
        (
            2,
            ".02,0 0,1 | -.02,.06 .29,0,40 .37,.36,140 .09,.5,30 .15,.58,-150 .29,.48,-120 "
            ".46,.76,90 .26,1,100 0,.94,30",
        ),
        # an open waist: the bowls turn before the stem
        (2, ".02,0 0,1 | 0,.02 .33,0,20 .31,.44,170 .24,.48 .44,.56,50 .33,.98,160 0,1"),
        # the lower bowl does not close
        (1, ".02,0 0,1 | 0,.02 .33,0,10 .31,.46,170 .07,.48 .46,.6,60 .2,.97,130"),
        # a small head on a large bowl, and the reverse
        (1.5, ".02,0 0,1 | 0,.02 .2,0,20 .18,.36,170 .03,.38 .44,.44,10 .44,1,170 0,.98"),
        (1, ".02,0 0,1 | 0,0 .4,0,10 .37,.58,180 .04,.6 .31,.64,10 .29,1,170 0,1"),
        # down, back up beside the stem with a loop below, both bowls: quick
        (
            1.5,
            ".09,.1 0,.9,-8 .07,.9,-160 .15,.1 .37,0,80 .44,.3,100 .18,.5,50 .46,.72,100 .22,1,100 -.02,.9,40",
        ),
        # hardly a waist
        (1.5, ".02,.02 0,1 | 0,.06 .35,.02,70 .38,.4,110 .32,.48,10 .46,.64,60 .33,.98,110 0,.97,15"),
        # square
        (1, ".02,0 0,1 | 0,0 .4,.02 .44,.42,40 .02,.5 .48,.55 .48,.95,40 0,1"),
        # each bowl a stroke of its own
        (1.5, "0,0 0,1 | 0,.02 .33,0,10 .33,.46,180 0,.48 | 0,.5 .4,.5,5 .4,1,180 0,1"),
        # like 13
        (0.7, "0,.02 0,1 | .17,.04 .38,.02,40 .38,.46,170 .22,.48 .46,.54,40 .4,.98,160 .16,.95,30"),
        # like a German double s
        (0.8, "0,1.02 .02,.25 .24,0,100 .44,.22,90 .17,.46,50 .5,.73,110 .28,1,90 .04,.95,40"),
        # open above
        (0.7, ".02,.1 0,1 | .1,-.01 .38,.04,50 .36,.46,160 .06,.5 .44,.54,20 .4,1,170 0,1"),
        # bowls with corners
        (0.7, "0,0 0,1 | 0,0 .4,.23,20 .05,.48,10 .48,.74,20 0,1,10"),
        # both bowls open to the stem
        (0.7, "0,.02 0,1 | .03,.02 .34,.02,30 .34,.44,170 .24,.48 .46,.56,50 .35,.99,160 .14,.99"),
        # a D with a notch: the bowls meet far from the stem
        (1.2, ".02,.2 .16,1 | 0,.26 .24,0,100 .42,.3,90 .44,.36,-40 .78,.66,80 .5,.93,60 .14,1,20"),
        (1, ".02,0 0,1 | 0,.02 .3,.02,40 .4,.36,110 .38,.42,-30 .58,.68,90 .34,.98,70 0,1,10"),
        (0.6, "0,1 .02,.12 .24,0,110 .42,.24,90 .38,.42,20 .6,.7,80 .34,.97,80 -.02,1,10"),
        # a lead-in to the stem
        (0.8, "-.26,.12 -.12,.18,-90 .02,.02,-20 0,1 | 0,.04 .33,.02,20 .33,.46,170 .08,.48 .4,.52,10 .38,1,170 0,1"),
        # lower case
        (0.3, "0,0 0,.97 .01,.64,-4 .28,.46,70 .5,.72,100 .26,1,100 0,.93,40"),
    ),
    "C": (
        # plain, more and less closed
        (6, ".78,.14 .43,0,-60 0,.5,-95 .43,1,-95 .81,.82,-60"),
        (5, ".67,.05 .35,.04,-40 0,.5,-90 .35,.98,-90 .76,.92,-40"),
        # the pen sets down with a small hook
        (3, ".76,.22 .67,.02,-30 .39,.02,-60 0,.52,-90 .39,1,-90 .8,.84,-50"),
        # a curl at the top
        (2, ".58,.32 .8,.14,-70 .48,0,-110 0,.5,-90 .45,1,-95 .84,.8,-60"),
        # school script: from within, a turn at the top right
        (1.2, ".46,.33 .8,.14,-30 .5,0,-140 0,.55,-90 .41,1,-95 .84,.82,-50"),
        # a serif: down, back up, round
        (1.5, ".71,.02 .71,.26 .63,.06,10 .37,0,-60 0,.5,-90 .39,1,-90 .78,.84,-50"),
        # angular: straight down the side, a flat foot
        (1, ".68,.08 .52,0,-50 .04,.6,-40 .12,.96,-90 .82,.94,-15"),
        (1.5, ".67,0 .22,.05,-20 0,.35,-40 .02,.8,-10 .19,.98,-40 .71,.98"),
        # a wedge
        (0.8, ".76,0 .09,.5,-50 .15,.75,-90 .81,.98,-25"),
        # narrow and tall, ending upward
        (2, ".5,.06 .28,0,-60 0,.6,-70 .19,1,-90 .48,.76,-60"),
        # nearly round: both ends curl in
        (1.5, ".82,.24 .45,0,-100 0,.5,-95 .45,1,-95 .86,.74,-100"),
        # starts with a hook inwards, ends with one
        (1, ".76,.12 .71,0,-40 .11,.3,-60 .11,.86,-50 .59,.98,-60 .78,.86,-40"),
        # curls at the top: inwards, and round
        (1, ".6,.24 .72,.08,-120 .45,0,-60 0,.52,-95 .44,1,-95 .82,.82,-60"),
        (0.7, ".56,.24 .72,.24,-60 .66,.02,-130 .36,.02,-30 0,.52,-90 .42,1,-95 .82,.84,-55"),
        # a closed loop at the top
        (0.8, ".66,.05 .52,.2,-110 .7,.3,-110 .72,.06,-110 .42,0,-50 0,.52,-95 .44,1,-90 .82,.84,-55"),
        # serifs at both ends
        (0.6, ".74,0 .7,.26 .64,.05,10 .37,0,-50 0,.5,-90 .38,1,-90 .66,.94,-30 .72,.72"),
        # a mere bow
        (0.7, ".44,.02 0,.5,-70 .46,1,-70"),
        # with corners
        (0.6, ".68,.02 .14,.02 0,.2,-70 0,.78 .14,.98,-70 .72,.98"),
        # ends far to the right
        (0.8, ".62,.06 .34,.02,-40 0,.5,-90 .34,.98,-90 1,.84,-25"),
    ),
    "D": (
        # stem, then the bowl
        (6, ".02,0 0,1 | 0,.02 .22,.01 .68,.48,85 .22,.99,85 0,1"),
        (3, ".02,0 0,1 | 0,0 .6,.42,70 .4,.88,70 0,1,20"),
        # down, back up, the bowl: one stroke
        (3, ".02,.05 0,1 .02,.06,-4 .24,0,60 .66,.5,85 .24,1,85 0,.98,10"),
        # from the foot up and round
        (1, "0,1 .02,.01 .28,0,20 .64,.45,85 .3,.97,75 -.04,1,10"),
        # the bowl begins and ends left of the stem
        (3, ".14,.03 .12,.97 | -.14,.06 .26,0,20 .72,.48,90 .26,1,85 -.14,.98,10"),
        (2, ".18,.06 .14,.85,10 | -.14,.16 .26,0,50 .68,.48,90 .24,1,80 -.1,.9,60"),
        # down with a hook to the left, the bowl from far left
        (1.5, ".2,.08 .16,.7,5 .06,.82,60 | -.1,.1 .22,0,40 .64,.4,80 .3,.98,90 -.12,.92,50"),
        # the bowl does not close, below or above
        (2, ".02,0 0,.92 | -.02,.03 .26,.02 .66,.46,80 .28,.94,80 .1,1.02,-10"),
        (2, ".02,0 -.02,1 | .12,0 .64,.44,80 .3,.95,75 .04,1,10"),
        # stem, foot, and the bowl from below
        (1, ".04,0 0,.98 .3,.96,-15 .66,.5,-80 .3,.02,-80 -.02,.04"),
        # a loop at the foot of the stem, the bowl back over the top: a second loop
        (1.5, ".2,.1 .14,.88,5 .02,.96,80 .04,.84,150 .34,.98,20 .72,.5,-110 .36,0,-90 -.02,.16,-60"),
        (1, ".22,.1 .16,.9 .08,.8,170 .3,.98 .7,.5,-110 .35,0,-100 .04,.2,-90 .12,.36,-110"),
        # the bowl begins with a loop of its own, left of the stem
        (1.5, ".2,.12 .16,.88 | .06,.42 -.1,.26,110 .24,0,80 .72,.48,90 .26,1,90 -.1,.9,50"),
        # round: the stem no straighter than the bowl
        (0.7, ".08,0 .04,.97,-6 | -.02,.08 .36,0,40 .68,.44,80 .36,.98,80 .02,.92,30"),
        # square
        (1, ".02,0 0,1 | 0,.02 .42,0,10 .6,.2,50 .6,.8,10 .42,1,50 0,1"),
        # the bowl begins right of the stem's top, ends right of its foot, or both
        (0.8, "0,.04 0,1 | .17,-.02 .68,.5,90 .24,1,80 0,1"),
        (0.8, ".02,0 0,1 | 0,.02 .26,.02 .66,.46,80 .42,.9,60 .19,.98,20"),
        (0.6, "0,0 0,1 | .18,.02 .62,.48,70 .18,1,70"),
        # a second loop at the foot
        (0.7, "0,.02 0,1 | 0,.04 .26,0,20 .68,.48,85 .26,1,85 -.05,.94,40 .02,.78,150 .22,.96,60"),
        # the bowl runs out left of the foot
        (1, "0,0 0,1 | -.12,.05 .26,0,10 .66,.5,85 .24,1,85 -.2,1.03"),
        # a belly that hangs, a pointed one
        (1, "0,0 0,1 | 0,0 .4,.2,40 .6,.62,50 .36,.98,70 0,1,15"),
        (0.7, "0,0 0,1 | 0,0 .58,.48,35 0,1,35"),
        # the bowl ends in a curl inside
        (0.7, ".02,0 0,1 | 0,.02 .26,0,20 .68,.48,85 .3,1,85 .04,.86,70 .2,.74,110"),
        # lower case
        (0.3, ".48,.56 .24,.44,-60 0,.72,-90 .24,1,-90 .48,.82,-60 .5,0 .51,1"),
    ),
    "E": (
        # stem, three bars from the top
        (4, "0,0 0,1 | 0,0 .58,0 | 0,.48 .48,.48 | 0,1 .6,1"),
        # stem and foot in one, then the two upper bars
        (5, "0,0 0,1 .6,1 | 0,.02 .58,0 | 0,.5 .46,.48"),
        # like a C with corners, middle bar
        (4, ".58,0 0,.02 0,1 .6,.98 | 0,.5 .46,.48"),
        # like a C, middle bar
        (3, ".6,.06 .34,0,-40 0,.5,-80 .34,1,-90 .64,.9,-40 | .04,.5 .5,.46"),
        # in one stroke: the middle bar out and back
        (3, ".58,0 .04,.04 0,.48 .44,.46 .02,.52 0,1 .6,.98"),
        # a 3 turned round: with a corner at the waist, with a loop there
        (3, ".6,.1 .3,0,-60 .06,.24,-90 .36,.46,-90 0,.74,-90 .3,1,-90 .66,.86,-50"),
        (
            2,
            ".56,.1 .3,0,-70 .08,.22,-90 .28,.46,-80 .36,.4,-120 .24,.44,-110 0,.74,-70 .3,1,-90 .64,.86,-50",
        ),
        # the middle bar detached, the upper bar detached
        (2, ".55,.02 0,.05 0,.98 .6,.98 | .16,.5 .55,.48"),
        (1.5, "0,.2 .02,.9 .2,1,-60 .62,.94,-20 | .08,0 .62,-.04 | .04,.5 .52,.44"),
        # a round foot: stem into the lower bar
        (3, ".04,.02 0,.8 .14,1,-80 .56,.92,-40 | 0,.04 .54,0 | 0,.5 .44,.47"),
        # the stem between bars that stick out on both sides
        (1.5, ".2,.03 .16,.97 | -.14,.08 .6,0,15 | .18,.5 .56,.47 | -.16,1 .6,.98"),
        # stem from above the upper bar to below the lower
        (2, ".02,-.12 0,1.06 | 0,.02 .55,0 | 0,.48 .5,.46 | 0,.96 .56,.98"),
        # the middle bar crosses the stem
        (1.5, ".58,.03 .26,.02,-20 .02,.4,-60 .08,.9,-50 .56,.94,-60 | -.12,.5 .42,.47"),
        # upper bar and stem in one from the right, foot and middle as strokes
        (1.5, ".58,0 .04,.02 0,1 | .02,.5 .48,.48 | 0,1 .58,.98"),
        # four strokes: the bars detached, stuck out to the left, climbing, the middle one longest
        (1, "0,.02 0,.98 | .16,0 .6,-.02 | .16,.5 .52,.48 | .16,1 .6,.98"),
        (0.6, "0,0 0,1 | .2,.03 .62,0 | .03,.5 .5,.48 | 0,1 .6,1"),
        (1.2, "0,0 0,1 | -.12,0 .56,0 | -.1,.5 .5,.48 | -.1,1 .58,1"),
        (1, "0,0 0,1 | 0,.06 .56,-.06 | 0,.54 .48,.43 | 0,1 .6,.9"),
        (0.8, "0,0 0,1 | 0,0 .44,0 | 0,.5 .6,.48 | 0,1 .48,1"),
        # a 3 turned round, narrow, and with a flat top
        (0.7, ".44,.06 .22,0,-50 .02,.22,-100 .26,.45,-70 0,.74,-110 .22,1,-90 .5,.92,-40"),
        (0.4, ".58,0 .04,.02,-5 .34,.44 0,.73,-100 .3,1,-100 .64,.86,-40"),
        # like a large e
        (0.5, ".03,.53 .6,.44,-10 .34,0,-130 0,.5,-90 .34,1,-95 .68,.84,-50"),
        # a 3 turned round, with corners, and closing below
        (0.6, ".58,.12 .3,0,-40 .06,.2,-60 .36,.46,-20 .02,.72,-20 .22,1,-90 .64,.88,-30"),
        (0.5, ".56,.1 .3,0,-60 .06,.22,-95 .34,.44,-80 .02,.72,-90 .26,1,-90 .5,.82,-80 .3,.64,-100 .1,.68,-40"),
        # a low stem with its foot, the bars climbing past it
        (0.8, ".02,.3 0,.86 .14,1,-70 .6,.92,-20 | .08,.26 .66,-.02 | .06,.62 .5,.46"),
        # lower case
        (0.3, ".02,.74 .46,.68,-5 .26,.42,-120 0,.72,-95 .26,1,-95 .52,.9,-45"),
    ),
    "+": (
        (5, ".5,0 .5,1 | 0,.5 1,.5"),
        (5, "0,.5 1,.5 | .5,0 .5,1"),
        # the upright with a hook at its foot
        (1, "0,.5 1,.48 | .54,0 .52,.88 .42,1,60"),
        # in one stroke: down, back up in a loop to the left, across
        (0.4, ".55,0 .5,1 -.05,.62,70 .1,.45,120 1.05,.42,10"),
        (0.2, ".5,0 .5,1 0,.5,20 1,.45,-5"),
        # in one stroke: across, back over the top, down
        (0.2, "0,.54 1,.5 .54,0,-30 .5,1"),
        # like a t
        (0.4, ".45,0 .45,.86 .62,.97,-80 | .08,.34 .9,.32"),
        # the bar high, low, to one side
        (0.4, ".5,0 .48,1 | 0,.34 1,.32"),
        (0.4, ".5,0 .48,1 | 0,.68 1,.66"),
        (0.6, ".5,0 .5,1 | .2,.5 1.12,.48"),
        # turned towards an x
        (0.4, ".18,.1 .82,.9 | .9,.2 .1,.8"),
    ),
    "-": (
        (12, "0,.5 1,.5"),
        # a wave
        (1, "0,.5 .5,.5,15 1,.5,-15"),
        # bowed, up or down
        (1, "0,.5 1,.5,22"),
        (1, "0,.5 1,.5,-22"),
        # a hook where the pen lands, or leaves
        (0.7, "0,.4 .06,.5,-30 1,.48"),
        (0.7, "0,.5 .94,.5 1,.56,40"),
        # climbing, falling
        (0.8, "0,.64 1,.36"),
        (0.5, "0,.36 1,.62"),
        # out and back
        (0.4, "0,.5 1,.48 .1,.58"),
    ),
}
