"""The fields of the objects beside items, accounts and contacts, and the headers by which systems name them."""

from __future__ import annotations

from dataclasses import replace

from importer.domain.field import Field, field

ALLOCATIONS, SALES, ORDERS, ASSIGNMENTS = "ALLOCATIONS", "SALES", "ORDERS", "ASSIGNMENTS"
EXCHANGE_RATES, COVER, CREDIT_INFORMATION = "EXCHANGE_RATES", "COVER", "CREDIT_INFORMATION"

_AMOUNTS = "amount totalamount value total montant montanttotal betrag gesamtbetrag importe importetotal monto wrbtr"


def further_fields(
    account_number: Field, account_name: Field, currency: Field, company_code: Field, registration: Field
) -> dict[str, tuple[Field, ...]]:
    """Fields by object; what all objects have in common is given."""
    common = (account_number, account_name, currency, company_code)
    # Cover and credit information name a legal unit by either of the two.
    unit = (replace(account_number, required=False), account_name, registration, company_code)
    return {
        ALLOCATIONS: (
            *common,
            field(
                "creditNumber",
                "id",
                "number of the payment or credit note",
                "numéro du paiement ou de l'avoir",
                "creditnumber creditno creditnotenumber paymentnumber paymentno paymentid receiptnumber receiptno "
                "creditdocument paymentdocument clearingdocument augbl fromdocument fromnumber numeropaiement nopaiement "
                "numeroavoir noavoir numeroreglement zahlungsnummer zahlungsbeleg gutschriftsnummer ausgleichsbeleg "
                "numeropago numerocobro numeroabono",
                required=True,
                max_length=100,
            ),
            field(
                "debitNumber",
                "id",
                "number of the invoice it settles",
                "numéro de la facture soldée",
                "debitnumber debitno invoicenumber invoiceno invoice debitdocument invoicedocument appliedto "
                "appliedtodocument todocument tonumber numerofacture nofacture facture facturesoldee rechnungsnummer "
                "rechnungsnr rechnung numerofactura factura",
                required=True,
                max_length=100,
            ),
            field(
                "amount",
                "amount",
                "amount allocated",
                "montant imputé",
                f"amountallocated allocatedamount amountapplied appliedamount montantimpute montantlettre zugeordnet "
                f"zugeordneterbetrag importeaplicado {_AMOUNTS}",
                required=True,
            ),
            field(
                "valueOn",
                "date",
                "value date",
                "date de valeur",
                "valuedate allocationdate applieddate applicationdate date postingdate clearingdate augdt datevaleur "
                "datedevaleur dateimputation datelettrage valutadatum zuordnungsdatum ausgleichsdatum datum fechavalor "
                "fechaaplicacion fecha",
                required=True,
            ),
            field(
                "externalId",
                "id",
                "unique identifier of the source",
                "identifiant unique de la source",
                "externalid uniqueid uuid guid allocationid id identifiantunique idexterne eindeutigeid idexterno",
                max_length=100,
            ),
        ),
        SALES: (
            *common,
            field(
                "month",
                "month",
                "month",
                "mois",
                "month period salesmonth yearmonth monthyear accountingperiod mois periode moisannee anneemois monat "
                "periodenmonat buchungsperiode mes periodo",
                required=True,
            ),
            field(
                "grossAmount",
                "amount",
                "sales including tax",
                "ventes TTC",
                "salesincludingtax grosssales salesgross salesincltax grossamount turnoverincltax ventesttc cattc "
                "chiffreaffairesttc montantttc umsatzbrutto bruttoumsatz brutto ventasbrutas ventasconiva sales turnover "
                f"revenue ventes chiffredaffaires ca umsatz ventas {_AMOUNTS}",
                required=True,
            ),
            field(
                "netAmount",
                "amount",
                "sales without tax",
                "ventes HT",
                "saleswithouttax netsales salesnet salesexcltax netamount turnoverexcltax ventesht caht "
                "chiffreaffairesht montantht umsatznetto nettoumsatz netto ventasnetas ventassiniva",
            ),
        ),
        ORDERS: (
            *common,
            field(
                "orderNumber",
                "id",
                "order number",
                "numéro de commande",
                "ordernumber orderno orderid order salesorder salesordernumber salesdocument vbeln numerocommande "
                "nocommande commande auftragsnummer auftragsnr auftrag bestellnummer numeropedido pedido npedido",
                required=True,
                max_length=100,
            ),
            field(
                "orderedOn",
                "date",
                "order date",
                "date de commande",
                "orderdate ordereddate dateordered audat datecommande datedecommande auftragsdatum bestelldatum "
                "fechapedido fechadepedido date datum fecha",
                required=True,
            ),
            field(
                "deliveryOn",
                "date",
                "delivery date",
                "date de livraison",
                "deliverydate requesteddeliverydate shipdate duedeliverydate edatu datelivraison datedelivraison "
                "lieferdatum liefertermin fechaentrega fechadeentrega",
            ),
            field(
                "amount",
                "amount",
                "amount not yet invoiced",
                "montant non facturé",
                "openorderamount backlog backlogamount notinvoiced amountnotinvoiced openordervalue orderamount "
                "ordervalue resteafacturer montantnonfacture montantcommande nochnichtfakturiert auftragswert "
                f"offenerauftragswert pendientefacturar importepedido {_AMOUNTS}",
                required=True,
            ),
            field(
                "deliveredAmount",
                "amount",
                "delivered, not yet invoiced",
                "livré non facturé",
                "delivered deliveredamount deliverednotinvoiced shippednotinvoiced livrenonfacture montantlivre "
                "geliefertnichtfakturiert geliefert entregado entregadonofacturado",
            ),
        ),
        ASSIGNMENTS: (
            account_number,
            account_name,
            company_code,
            field(
                "collector",
                "text",
                "collector",
                "chargé de recouvrement",
                "collector collectoremail creditcontroller collectionagent assignedto responsible recouvreur "
                "chargederecouvrement chargerecouvrement gestionnaire sachbearbeiter mahnsachbearbeiter gestor "
                "gestorcobro responsable",
                max_length=254,
            ),
            field(
                "salesPerson",
                "text",
                "sales person",
                "commercial",
                "salesperson salesrep salesrepresentative salesman accountmanager salesmanager vendeur commercial "
                "representant vertreter aussendienst verkaufer vertriebsmitarbeiter vendedor comercial",
                max_length=254,
            ),
        ),
        EXCHANGE_RATES: (
            field(
                "base",
                "currency",
                "currency",
                "devise",
                "base basecurrency fromcurrency from sourcecurrency fcurr currency currencycode foreigncurrency devise "
                "devisebase devisesource devisedorigine monnaie wahrung vonwahrung ausgangswahrung moneda divisa "
                "monedaorigen",
                required=True,
            ),
            field(
                "quote",
                "currency",
                "currency it is quoted in",
                "devise de cotation",
                "quote quotecurrency tocurrency to targetcurrency tcurr pricecurrency devisecible devisecotation "
                "devisedecotation zielwahrung nachwahrung monedadestino",
                required=True,
            ),
            field(
                "rate",
                "amount",
                "exchange rate",
                "taux de change",
                "rate exchangerate fxrate ukurs taux tauxdechange cours kurs wechselkurs umrechnungskurs tasa tipocambio "
                "tipodecambio cambio",
                required=True,
            ),
            field(
                "validFrom",
                "date",
                "valid from",
                "valable à partir du",
                "validfrom date ratedate effectivedate gdatu valablede valideapartirdu dateapplication datetaux gultigab "
                "kursdatum datum validodesde fecha",
                required=True,
            ),
            field(
                "source", "text", "source", "source", "source ratesource ratetype kurst origine quelle fuente origen"
            ),
        ),
        COVER: (
            *unit,
            currency,
            field(
                "coverKind",
                "choice",
                "insurance or guarantee",
                "assurance ou garantie",
                "coverkind covertype kind type guaranteetype securitytype nature typegarantie typecouverture naturegarantie "
                "art sicherheitenart deckungsart tipo tipogarantia",
                max_length=50,
            ),
            field(
                "insurer",
                "text",
                "insurer or guarantor",
                "assureur ou garant",
                "insurer insurancecompany creditinsurer guarantor surety assureur compagnie garant caution "
                "versicherer kreditversicherer burge garantiegeber aseguradora garante avalista",
                required=True,
            ),
            field(
                "policy",
                "id",
                "number of the policy",
                "numéro de police",
                "policy policynumber policyno contractnumber guaranteenumber police numeropolice nopolice "
                "numerogarantie policennummer versicherungsnummer vertragsnummer poliza numeropoliza",
                max_length=100,
            ),
            field(
                "amount",
                "amount",
                "amount covered",
                "montant couvert",
                "insuredlimit insuredamount coveramount coveredamount limitinsured guaranteeamount agreedlimit "
                "creditlimitinsured approvedlimit encoursgaranti montantgaranti montantcouvert limiteassuree garantie "
                "versichertesLimit versicherteslimit deckungssumme versicherungslimit limiteasegurado importeasegurado "
                f"limit {_AMOUNTS}".lower(),
                required=True,
            ),
            field(
                "validFrom",
                "date",
                "valid from",
                "valable à partir du",
                "validfrom startdate effectivedate from coverfrom datedebut datedeffet valabledu gultigab gultigvon "
                "beginn validodesde fechainicio",
            ),
            field(
                "validUntil",
                "date",
                "valid until",
                "valable jusqu'au",
                "validuntil validto enddate expirydate expiry expires coverto datefin datedefin echeance valableau "
                "gultigbis ablaufdatum validohasta fechafin fechavencimiento",
            ),
        ),
        CREDIT_INFORMATION: (
            *unit,
            field(
                "provider",
                "text",
                "provider",
                "fournisseur d'informations",
                "provider informationprovider agency creditagency bureau ratingagency informationsource source "
                "fournisseurinformation agence auskunftei anbieter informationsanbieter quelle proveedor agencia fuente",
                required=True,
            ),
            field(
                "score",
                "id",
                "score",
                "score",
                "score creditscore riskscore scoring scorecredit note notation bonitatsindex bonitat puntuacion",
                max_length=50,
            ),
            field(
                "rating",
                "id",
                "rating",
                "cotation",
                "rating creditrating riskclass riskrating cotation classederisque bonitatsklasse risikoklasse ratingklasse "
                "calificacion",
                max_length=50,
            ),
            field(
                "informedOn",
                "date",
                "date of the information",
                "date de l'information",
                "informationdate scoredate ratingdate dateofscore dateofrating dateofinformation date "
                "asof asofdate updatedon dateinformation datescore datenotation "
                "datecotation auskunftsdatum stand datum fechainformacion fecha",
                required=True,
            ),
        ),
    }
