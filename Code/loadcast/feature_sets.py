"""Which feature sets there are: loadcast's own, those that were registered here, and those of other packages.

A package offers a set by an entry point of the group GROUP: its name is the set's, and it leads to a FeatureSet or to a
function without arguments that gives one. Spark's workers then need the package, too.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from loadcast.errors import ArtefactError, ConfigError
from loadcast.kernels.features import CLASSIC, DIRECT, DIRECT_1, EXTENDED, PUBLIC_SAMPLE, FeatureSet
from loadcast.kernels.features.check import check_feature_set

GROUP = "loadcast.feature_sets"
_OWN = {features.name: features for features in (CLASSIC, EXTENDED, DIRECT)}
#: What models here before were trained with, and are still served with: no configuration can name it.
_EARLIER = {(features.name, features.version): features for features in (DIRECT_1,)}

_registered: dict[str, FeatureSet] = {}
_from_packages: dict[str, FeatureSet] = {}


def register(features: FeatureSet) -> None:
    """Make a set known in this process, for a notebook or a test. Raises ConfigError for one that cannot be used."""
    if features.name in (*_OWN, PUBLIC_SAMPLE.name) or _registered.get(features.name, features) != features:
        raise ConfigError(f"featureSet: found {features.name}, which is taken; wanted a name of its own.")
    check_feature_set(features)
    _registered[features.name] = features


def unregister(name: str) -> None:
    """Forget a set that was registered here."""
    _registered.pop(name, None)


def is_registered_here(features: FeatureSet) -> bool:
    """Whether a set is known in this process only, and not by a package that others may have as well."""
    return features.name in _registered


def feature_set(name: str) -> FeatureSet:
    """The set of this name. Raises ConfigError where there is none, or its package does not give a usable one."""
    if name in _OWN:
        return _OWN[name]
    if name not in _registered and name not in _from_packages:
        _from_packages[name] = _from_package(name)
    return _registered.get(name) or _from_packages[name]


def feature_set_of(name: str, version: int) -> FeatureSet:
    """The set that a run or bundle was made with. Raises ArtefactError where it is not known here in that version."""
    if (name, version) in _EARLIER:
        return _EARLIER[name, version]
    try:
        # The public sample's models are served; none is trained, so no configuration can name its set.
        features = PUBLIC_SAMPLE if name == PUBLIC_SAMPLE.name else feature_set(name)
    except ConfigError as exc:
        raise ArtefactError(f"The model needs its feature set. {exc}") from exc
    if version != features.version:
        raise ArtefactError(
            f"The model is of version {version} of the feature set {features.name}, here is version "
            f"{features.version}. Train again, or install the package that has the model's."
        )
    return features


def _from_package(name: str) -> FeatureSet:
    offered = entry_points(group=GROUP)
    offers = [offer for offer in offered if offer.name == name]
    if not offers:
        known = sorted({*_OWN, *_registered, *(offer.name for offer in offered)})
        raise ConfigError(
            f"featureSet: found {name[:70]!r}, wanted one of {', '.join(known)}; "
            f"other packages offer more by an entry point of the group {GROUP}."
        )
    features = _loaded(offers[0])
    check_feature_set(features)
    return features


def _loaded(offer: EntryPoint) -> FeatureSet:
    try:
        features = offer.load()
        features = features if isinstance(features, FeatureSet) else features()
    except ConfigError:
        raise
    except Exception as exc:  # another package's code: it may raise anything
        raise ConfigError(
            f"featureSet: {offer.name} cannot be loaded from {offer.value} ({type(exc).__name__}: {str(exc)[:200]})."
        ) from exc
    if not isinstance(features, FeatureSet) or features.name != offer.name:
        raise ConfigError(f"featureSet: {offer.value} is no FeatureSet of the name {offer.name}. Ask its authors.")
    return features
