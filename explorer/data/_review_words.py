"""The words of the generated reviews, chosen by hand; within each list roughly the commonest come first."""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


# They hold sentences together and say nothing.
FUNCTION = _words("""
the and a of to is in it that this i as with was for but on are his have be not he you at they by an who all so from
her or like has if there what my she its when out up can which more their just some only me we no about would them
than time then will into because were had even most much any other do how been first also after him your where very
too don't people could get make does over did way off these here through see never such being it's those while two
ever should many before know now why think again still i'm each between against during same our once both another
every few own under around without although since until though almost yet perhaps rather quite maybe however us
himself herself itself themselves someone anyone everyone nobody something anything nothing everything somewhere
whether whose whom upon within along across behind towards above below among despite except inside outside throughout
whatever whenever wherever therefore thus
""")

# The common talk of anybody who writes about films, whatever they thought of it.
COMMON = _words("""
movie film one story character characters scene scenes plot actor actors director watch show end ending part man woman
life world years year day night seen made makes find say says tell look looking take takes goes going come comes play
plays played role cast acting line lines script music camera minutes hour hours times thing things young old girl boy
guy guys friend friends family father mother son daughter brother sister wife husband house home town city street
place name roles series episode season version original book novel author writer written wrote directed directors
producer production studio budget screen cinema theatre audience viewer viewers television video dvd tape release
released trailer sequel prequel remake opening beginning middle half second third final last next long short little
big high low real black white american english british french german italian japanese chinese european subtitles
dialogue dialogues narrator narration voice sound soundtrack song songs score lighting shot shots angle frame editing
editor costume costumes set sets location locations make-up colour effects effect sequence sequences moment moments
action comedy drama genre style theme themes subject idea ideas point reason question answer word words sense mind
eyes face hand hands head heart body background foreground kind sort type bit lot case fact course rest turn turns
works working put puts keep keeps leave leaves left right start starts started begin begins happens happened become
becomes meet meets call called calls give gives given want wants need needs try tries trying talk talks talking hear
heard feel feels felt believe remember remembered guess suppose expect expected wonder decide decides decided read
reading write review reviews comment comments critic critics opinion rating vote star stars main lead leading
supporting cameo actress actresses performer performers stunt extras crew hero heroine villain stranger neighbour
couple parents children kids child teenager teenagers students person group team boss job work money car door window
room phone letter picture photograph cameras morning evening weekend summer winter spring autumn week weeks month
months decade decades century today yesterday tomorrow later early late ago soon often sometimes usually always
generally mostly several various different similar whole entire certain particular general common public private local
foreign modern contemporary recent current former previous following mainstream domestic adult female male rural urban
northern southern eastern western running length pace premise setting adaptation screenplay monologue flashback
flashbacks montage close-up cut cuts prologue epilogue credits festival screening rental cable channel
""")

# What they thought of it: strength from -3 (damning) to +3 (raving).
SENTIMENT = {
    1: _words("""
good well love better fun nice interesting enjoy pretty enjoyed funny cute clever decent solid worth recommend fine
liked entertaining cool true fresh warm sweet sincere pleasant amusing charming humorous engaging lively smart strong
natural honest watchable gentle likeable effective believable competent polished convincing credible faithful playful
tidy sensible bright neat appealing satisfying likes enjoys smile smiled smiling laughs colourful relaxing
affectionate respectable promising unusual wry worthwhile capable coherent crisp cheerful agreeable catchy handsome
thoughtful kindly sympathetic accessible tasteful harmless upbeat quirky earnest spirited snappy brisk sharp rewarded
pleased glad
"""),
    2: _words("""
great best loved beautiful perfect hilarious favourite touching enjoyable beautifully memorable powerful moving
classic impressive delightful delight compelling gripping charm wit witty intelligent talented emotional subtle
fascinating realistic thrilling exciting suspenseful heartfelt elegant graceful poignant inspiring inspired loving
wise moved cried applause rich vivid haunting tender passionate intense absorbing refreshing insightful imaginative
inventive stylish skilful skilfully artful lovable endearing uplifting joyous joy triumph treasure gem gems admire
admired praise praised deserves rewarding timeless nuanced layered authentic complex ambitious daring bold fearless
mesmerised hypnotic lyrical poetic atmospheric heartwarming radiant irresistible enchanting captivated winner
"""),
    3: _words("""
excellent wonderful amazing brilliant fantastic masterpiece superb perfectly outstanding awesome incredible
wonderfully brilliantly superbly extraordinary magnificent flawless unforgettable breathtaking stunning stunningly
marvellous terrific phenomenal spectacular exquisite sublime astonishing perfection genius must-see riveting
captivating mesmerising spellbinding dazzling exceptional exceptionally remarkable remarkably glorious splendid
masterful masterfully virtuoso peerless unsurpassed unparalleled matchless faultless transcendent luminous
heartbreaking exhilarating electrifying unmissable landmark triumphant immaculate stupendous top-notch first-rate
adore adored adores impeccable indelible ravishing wondrous miraculous monumental majestic treasured cherished bravo
jaw-dropping
"""),
    -1: _words("""
bad unfortunately problem hard wrong strange supposed odd slow problems lack silly weird cheap lacks predictable
confusing flat average cheesy weak missing disappointed obvious verbose uneven dated clichés stock tired overlong
repetitive forced unlikely thin questionable so-so shallow sketchy clumsy awkward heavy-handed implausible overdone
underused unclear distracting muddled routine generic familiar forgettable mediocre middling unconvincing lukewarm
sluggish meandering rushed hasty patchy bland formulaic simplistic contrived stiff cold distant noisy loud unneeded
needless hollow unsure doubtful flaws flaw flawed mistake mistakes excuse excuses confused puzzled frowned shrugged
sighed overrated dubious unfinished choppy
"""),
    -2: _words("""
worse boring poor poorly stupid dull disappointing annoying fails ridiculous lame failed mess disappointment bored
badly ruined fake tedious pointless bother wooden avoid skip clichéd unfunny ludicrous irritating uninteresting
nonsense nonsensical absurd amateurish cheaply sloppy lifeless senseless dreary laughable pretentious lazy
embarrassing embarrassed cringe cringed implausibly incoherent plodding monotonous stale tiresome ugly unpleasant
grating obnoxious cartoonish hackneyed derivative unoriginal uninspired one-dimensional cardboard half-baked
ill-conceived miscast misguided overacted hammy yawned yawning dozed frustrating frustrated regret regretted refund
tripe shoddy inept trite vapid witless charmless humourless soulless joyless mindless aimless clueless painful
wasteful dud flop letdown misfire
"""),
    -3: _words("""
worst awful waste terrible horrible crap wasted garbage pathetic horribly terribly dreadful trash painfully
unwatchable rubbish atrocious abysmal lousy insult insulting appalling dire dreck excruciating horrendous disgusting
disaster disastrous laughably unbearable insufferable idiotic moronic hideous wretched ghastly stinker turkey drivel
sewage torture torturous worthless inexcusable unforgivable incompetent incompetently abomination travesty atrocity
catastrophe fiasco trainwreck bottom-of-the-barrel unredeemable irredeemable vile repulsive loathsome hated hate
despise despised detest detested loathed nauseating sickening stinks stank sucks sucked crappy godawful brain-dead
mind-numbing rock-bottom embarrassment shameful disgraceful putrid
"""),
}

# What the films are about. Every review keeps to one topic, which says nothing of how good the film is.
TOPICS = {
    "space": _words("""
space planet alien aliens ship astronaut galaxy rocket orbit mission comet captain robot laser asteroid gravity
spaceship starship colony airlock moon
"""),
    "courtroom": _words("""
court trial lawyer judge jury witness verdict attorney evidence guilty innocent prosecutor defence testimony courtroom
lawsuit appeal objection client juror
"""),
    "romance": _words("""
romance marriage wedding kiss lover lovers bride groom flirt engagement honeymoon sweetheart proposal valentine roses
courtship jilted fiancé bouquet elope
"""),
    "boxing": _words("""
boxing boxer ring fight champion punch gloves trainer knockout heavyweight bout title referee gym sparring opponent
contender jab uppercut corner
"""),
    "western": _words("""
cowboy sheriff ranch saloon horse horses outlaw gunfight cattle frontier saddle posse bandit stagecoach marshal
revolver prairie deputy homestead rustlers
"""),
    "war": _words("""
war soldier soldiers army battle colonel troops enemy officer sergeant trench tank platoon bombing regiment infantry
barracks grenade veteran frontline
"""),
    "police": _words("""
police detective murder killer felony suspect crime cop cops investigation clue clues chief precinct homicide arrest
alibi forensic inspector fingerprint
"""),
    "gangsters": _words("""
gangster mafia mob gang crook heist robbery bank gun guns smuggler racket hitman godfather loot getaway vault
extortion bootlegger informer
"""),
    "horror": _words("""
horror ghost blood monster zombie zombies vampire haunted slasher scream demon curse graveyard werewolf exorcism
coffin possessed cellar chainsaw poltergeist
"""),
    "school": _words("""
school teacher student college class classroom professor campus principal exam graduation homework prom bully lessons
dormitory scholarship pupil detention library
"""),
    "music": _words("""
band singer guitar concert rock album piano drummer tour jazz opera musician orchestra stage rehearsal violin lyrics
chorus conductor melody
"""),
    "dance": _words("""
dance dancer dancing ballet ballroom choreography ballerina tango waltz partner rhythm choreographer tap salsa rumba
pirouette troupe slippers footwork
"""),
    "sea": _words("""
sea ocean boat island sailor shark pirate pirates submarine harbour fisherman lighthouse storm wreck anchor diver
whale deck lifeboat voyage
"""),
    "animals": _words("""
dog dogs cat animal animals puppy lion elephant wolf bear zoo monkey bird tiger kitten veterinarian leash safari den
paws
"""),
    "spies": _words("""
spy agent secret agents spies embassy codename microfilm wiretap undercover assassin dossier surveillance defector
passport briefcase cipher gadget double-agent saboteur
"""),
    "royalty": _words("""
king queen prince princess castle palace throne crown knight sword kingdom duke jester royal coronation heir empire
duchess nobleman lady-in-waiting
"""),
    "magic": _words("""
magic wizard witch dragon spell fairy elf quest enchanted potion sorcerer wand prophecy unicorn goblin amulet dwarf
giant spellbook crystal
"""),
    "hospital": _words("""
doctor hospital patient nurse surgeon surgery disease medical cancer ambulance clinic virus diagnosis operation
medicine ward epidemic therapist vaccine wheelchair
"""),
    "football": _words("""
football coach game player players league stadium match goal quarterback touchdown kickoff locker tackle fans
scoreboard playoffs championship fullback halftime
"""),
    "racing": _words("""
race racing driver engine track speed cars motorcycle chase mechanic truck garage highway crash pit lap helmet brakes
roadster chequered
"""),
    "prison": _words("""
prison prisoner jail escape guard guards warden cell inmate inmates sentence parole convict bars tunnel solitary riot
handcuffs execution fugitive
"""),
    "politics": _words("""
president government election politician campaign senator congress party minister speech votes scandal governor mayor
conspiracy activist protest ballot candidate diplomat
"""),
    "travel": _words("""
train travel trip journey hotel airport plane pilot passenger tourist desert jungle mountain luggage suitcase
expedition border backpack caravan postcard
"""),
    "kitchen": _words("""
food restaurant cook chef kitchen dinner cooking recipe wine waiter cake bakery chocolate menu cheese feast banquet
soup knife oven
"""),
    "computers": _words("""
computer internet hacker virtual machine software network scientist laboratory experiment android password keyboard
programmer invention genetic simulation code server cyborg
"""),
}
